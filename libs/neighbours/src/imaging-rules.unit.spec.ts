import type { Backup, Vault } from './backups.port';
import {
  refuseBackupDeletion,
  refuseDataDiskImages,
  refuseSystemDiskImage,
  refuseVolumeImage,
  refuseWholeImageOfBackup,
  refuseWholeImageOfServer,
} from './imaging-rules';
import type { Server } from './servers.port';
import type { Volume } from './volumes.port';

const at = new Date('2026-01-02T03:04:05Z');

const aDisk = (traits: Partial<Volume> = {}): Volume => ({
  id: 'root',
  projectId: 'p',
  name: 'root',
  availabilityZone: 'az1',
  status: 'in-use',
  sizeGib: 40,
  volumeType: 'SSD',
  use: 'system',
  bootable: true,
  encrypted: false,
  keyId: null,
  shareable: false,
  pool: 'evs',
  origin: { from: 'blank' },
  dependsOnOrigin: false,
  attachments: [{ serverId: 'server', device: '/dev/vda', bootIndex: 0, deleteOnTermination: true }],
  createdAt: at,
  ...traits,
});

const aServer = (traits: Partial<Server> = {}): Server => ({
  id: 'server',
  projectId: 'p',
  name: 'web-01',
  kind: 'ecs',
  status: 'SHUTOFF',
  taskState: null,
  resStatus: 'normal',
  isBeingReclaimed: false,
  bootFrom: 'volume',
  flavor: { id: 's6', vcpus: 1, ramMib: 1024, architecture: 'x86', series: 'S6' },
  imageId: null,
  volumes: [{ volumeId: 'root', device: '/dev/vda', bootIndex: 0, sizeGib: 40, deleteOnTermination: true }],
  metadata: {},
  tags: [],
  availabilityZone: 'az1',
  createdAt: at,
  ...traits,
});

const aVault = (traits: Partial<Vault> = {}): Vault => ({
  id: 'vault',
  projectId: 'p',
  name: 'vault',
  objectType: 'server',
  protectType: 'backup',
  sizeGib: 100,
  memberLimit: 1,
  status: 'available',
  usedBytes: 0,
  serverIds: [],
  createdAt: at,
  ...traits,
});

const aBackup = (traits: Partial<Backup> = {}): Backup => ({
  id: 'backup',
  projectId: 'p',
  line: 'CBR',
  name: 'nightly',
  checkpointId: 'checkpoint',
  vaultId: 'vault',
  serverId: 'server',
  serverName: 'web-01',
  architecture: 'x86',
  serverImageId: null,
  availabilityZone: 'az1',
  status: 'available',
  containsSystemDisk: true,
  imageId: null,
  sharedFromProjectId: null,
  sizeGib: 40,
  children: [],
  createdAt: at,
  ...traits,
});

describe(refuseSystemDiskImage, () => {
  it.each([
    ['a stopped ECS', {}],
    ['a running ECS', { status: 'ACTIVE' }],
    ['a stopped BMS', { kind: 'bms' }],
  ] as const)('accepts %s (CRE-01, CRE-02, CRE-03, CRE-04)', (_, traits) => {
    expect(refuseSystemDiskImage(aServer(traits), [aDisk()])).toBeUndefined();
  });

  it.each([
    ['IMG.0008', { status: 'RESIZE' }],
    ['IMG.0008', { kind: 'bms', status: 'ACTIVE' }],
    ['IMG.0008', { resStatus: 'freeze' }],
    ['IMG.0010', { taskState: 'powering-on' }],
    ['IMG.0164', { isBeingReclaimed: true }],
    ['IMG.0006', { kind: 'bms', bootFrom: 'local-disk' }],
    ['IMG.0119', { volumes: [] }],
  ] as const)('refuses with %s a server with %j (CRE-03, CRE-04, CRE-25)', (code, traits) => {
    const { volumes, ...rest } = { volumes: undefined, ...traits };
    const server = aServer({ ...rest, ...(volumes === undefined ? {} : { volumes: [...volumes] }) });
    expect(refuseSystemDiskImage(server, [aDisk()])?.code).toBe(code);
  });

  it.each([
    ['IMG.0153', { pool: 'dss' }],
    ['IMG.0153', { pool: 'dess' }],
    ['IMG.0022', { status: 'error' }],
    ['IMG.0111', { sizeGib: 1025 }],
    ['IMG.0110', { id: 'another' }],
    ['IMG.0105', { encrypted: true, keyId: 'key' }],
  ] as const)('refuses with %s a system disk with %j (CRE-05, SVC-05)', (code, traits) => {
    expect(refuseSystemDiskImage(aServer(), [aDisk(traits)])?.code).toBe(code);
  });

  it('says what to do: renew a frozen server (CRE-25), make a full-ECS image of a large disk (CRE-05)', () => {
    expect(refuseSystemDiskImage(aServer({ resStatus: 'freeze' }), [aDisk()])?.detail).toContain('renew');
    expect(refuseSystemDiskImage(aServer(), [aDisk({ sizeGib: 1025 })])?.detail).toContain('full-ECS');
    expect(refuseSystemDiskImage(aServer(), [aDisk({ sizeGib: 1024 })])).toBeUndefined();
    expect(refuseSystemDiskImage(undefined, [])?.code).toBe('IMG.0005');
  });
});

describe(refuseDataDiskImages, () => {
  const attachedTo = (serverId: string, bootIndex: number | null) => ({
    serverId,
    device: '/dev/vdb',
    bootIndex,
    deleteOnTermination: false,
  });
  const aDataDisk = (traits: Partial<Volume> = {}): Volume =>
    aDisk({ id: 'data', use: 'data', bootable: false, attachments: [attachedTo('server', null)], ...traits });

  it('accepts disks of one server and refuses others (CRE-06, CRE-08)', () => {
    const elsewhere = aDataDisk({ id: 'b', attachments: [attachedTo('other', null)] });
    expect(refuseDataDiskImages(aServer(), [aDataDisk()])).toBeUndefined();
    expect(refuseDataDiskImages(aServer(), [aDataDisk(), elsewhere])?.code).toBe('IMG.0140');
    expect(refuseDataDiskImages(aServer(), [undefined])?.code).toBe('IMG.0120');
    expect(refuseDataDiskImages(undefined, [aDataDisk({ attachments: [] })])?.code).toBe('IMG.0120');
    expect(refuseDataDiskImages(aServer(), [aDataDisk({ sizeGib: 1025 })])?.code).toBe('IMG.0120');
    expect(refuseDataDiskImages(aServer(), [aDataDisk({ pool: 'dess' })])?.code).toBe('IMG.0153');
    expect(refuseDataDiskImages(aServer({ status: 'ERROR' }), [aDataDisk()])?.code).toBe('IMG.0008');
    expect(refuseDataDiskImages(aServer({ taskState: 'image' }), [aDataDisk()])?.code).toBe('IMG.0139');
  });

  it('refuses a system disk named as a data disk, whichever server boots from it (CRE-06)', () => {
    expect(refuseDataDiskImages(aServer(), [aDisk()])).toMatchObject({
      code: 'IMG.0120',
      detail: expect.stringContaining('system disk'),
    });
    expect(refuseDataDiskImages(aServer(), [aDataDisk(), aDisk()])?.code).toBe('IMG.0120');
    const shared = aDataDisk({ attachments: [attachedTo('server', null), attachedTo('other', 0)] });
    expect(refuseDataDiskImages(aServer(), [shared])?.code).toBe('IMG.0120');
  });

  it('refuses an encrypted disk, whose image would be a plain one (ENC-02)', () => {
    expect(refuseDataDiskImages(aServer(), [aDataDisk(), aDataDisk({ encrypted: true, keyId: 'key' })])?.code).toBe(
      'IMG.0105',
    );
  });
});

describe(refuseVolumeImage, () => {
  const free = { status: 'available', attachments: [] } as const;
  const ask = (traits: Partial<Volume>, servers = [aServer()]) => refuseVolumeImage(aDisk(traits), servers)?.code;

  it('accepts a free disk and one in use, up to one tebibyte (CRE-08)', () => {
    expect(ask({ ...free, attachments: [] }, [])).toBeUndefined();
    expect(ask({})).toBeUndefined();
    expect(ask({ sizeGib: 1024 })).toBeUndefined();
    expect(ask({ sizeGib: 1025 })).toBe('IMG.0120');
    expect(refuseVolumeImage(undefined, [])?.code).toBe('IMG.0120');
  });

  it('refuses what cannot be read, whoever has it (SVC-05)', () => {
    expect(ask({ pool: 'dss' })).toBe('IMG.0153');
    expect(ask({ pool: 'dess', ...free, attachments: [] }, [])).toBe('IMG.0153');
    expect(ask({ status: 'error' })).toBe('IMG.0022');
  });

  it('refuses an encrypted disk, whose image would be a plain one (ENC-02)', () => {
    expect(ask({ encrypted: true, keyId: 'key' })).toBe('IMG.0105');
    expect(ask({ encrypted: true, keyId: 'key', ...free, attachments: [] }, [])).toBe('IMG.0105');
  });

  it.each([
    ['IMG.0139', { taskState: 'resizing' }],
    ['IMG.0008', { resStatus: 'freeze' }],
    ['IMG.0008', { status: 'REBUILD' }],
  ] as const)('refuses with %s a disk of which one server has %j', (code, traits) => {
    expect(ask({ shareable: true }, [aServer(), aServer(traits)])).toBe(code);
  });
});

describe(refuseWholeImageOfServer, () => {
  const ask = (traits: Partial<Parameters<typeof refuseWholeImageOfServer>[0]> = {}) =>
    refuseWholeImageOfServer({
      server: aServer(),
      disks: [aDisk()],
      vault: aVault(),
      currentVault: undefined,
      csbsBackups: 0,
      ...traits,
    })?.code;

  it('accepts a server in the vault or new to it, and disks above one tebibyte (CRE-05, CRE-16)', () => {
    expect(ask()).toBeUndefined();
    expect(
      ask({ currentVault: aVault({ serverIds: ['server'] }), vault: aVault({ serverIds: ['server'] }) }),
    ).toBeUndefined();
    expect(ask({ disks: [aDisk({ sizeGib: 2000 })] })).toBeUndefined();
  });

  it.each([
    ['IMG.0137', { server: undefined }],
    ['IMG.0126', { server: aServer({ status: 'ERROR' }) }],
    ['IMG.0136', { server: aServer({ taskState: 'backing-up' }) }],
    ['IMG.0010', { server: aServer({ taskState: 'rebuilding' }) }],
    ['IMG.0186', { csbsBackups: 1 }],
    ['IMG.0153', { disks: [aDisk({ pool: 'dss' })] }],
    ['IMG.0184', { vault: undefined }],
    ['IMG.0193', { vault: aVault({ objectType: 'disk' }) }],
    ['IMG.0193', { vault: aVault({ protectType: 'replication' }) }],
    ['IMG.0188', { vault: aVault({ status: 'lock' }) }],
    ['IMG.0183', { currentVault: aVault({ id: 'other' }) }],
    ['IMG.0185', { vault: aVault({ serverIds: ['x'] }) }],
  ] as const)('refuses with %s (CRE-17)', (code, traits) => {
    const { disks, ...rest } = { disks: undefined, ...traits };
    expect(ask({ ...rest, ...(disks === undefined ? {} : { disks: [...disks] }) })).toBe(code);
  });
});

describe(refuseBackupDeletion, () => {
  it.each([
    [undefined, undefined],
    [undefined, aBackup({ imageId: 'i' })],
    [undefined, aBackup({ status: 'error' })],
    ['IMG.0176', aBackup({ line: 'CSBS' })],
    ['IMG.0176', aBackup({ status: 'restoring' })],
  ] as const)('answers %s (ims-api 12.6)', (code, backup) => {
    expect(refuseBackupDeletion(backup)?.code).toBe(code);
  });
});

describe(refuseWholeImageOfBackup, () => {
  it.each([
    [undefined, aBackup(), 'CBR'],
    ['IMG.0020', undefined, 'CBR'],
    ['IMG.0127', undefined, 'CSBS'],
    ['IMG.0198', aBackup({ line: 'CSBS' }), 'CBR'],
    ['IMG.0029', aBackup({ imageId: 'i' }), 'CBR'],
    ['IMG.0134', aBackup({ line: 'CSBS', imageId: 'i' }), 'CSBS'],
    ['IMG.0032', aBackup({ status: 'restoring' }), 'CBR'],
    ['IMG.0132', aBackup({ line: 'CSBS', status: 'error' }), 'CSBS'],
    ['IMG.0195', aBackup({ containsSystemDisk: false }), 'CBR'],
  ] as const)('answers %s (CRE-18)', (code, backup, line) => {
    expect(refuseWholeImageOfBackup(backup, line)?.code).toBe(code);
  });
});
