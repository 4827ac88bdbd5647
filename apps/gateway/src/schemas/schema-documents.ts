/**
 * Schemas that OpenStack clients fetch and build validating models from (ims-api 13.1). Wider than the documented ones where real
 * rows need it: our disk formats, `shared`, nulls, and the attributes that are no strings.
 */
const timestamp = (description: string) => ({ type: 'string', readOnly: true, description });
const nullable = (type: string) => ['null', type];
const UUID = '^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$';

const imageProperties = {
  id: { type: 'string', pattern: UUID, description: 'An identifier for the image' },
  name: { type: nullable('string'), maxLength: 255, description: 'Descriptive name for the image' },
  status: {
    type: 'string',
    readOnly: true,
    enum: ['queued', 'uploading', 'saving', 'active', 'deactivated', 'killed', 'deleted', 'pending_delete'],
    description: 'Status of the image',
  },
  visibility: {
    type: 'string',
    enum: ['public', 'private', 'shared', 'community'],
    description: 'Scope of image accessibility',
  },
  protected: { type: 'boolean', description: 'If true, the image will not be deletable.' },
  os_hidden: { type: 'boolean', description: 'If true, image will not appear in default image list response.' },
  checksum: { type: nullable('string'), readOnly: true, maxLength: 32, description: 'MD5 of the image file' },
  os_hash_algo: { type: nullable('string'), readOnly: true, maxLength: 64, description: 'Algorithm of os_hash_value' },
  os_hash_value: { type: nullable('string'), readOnly: true, maxLength: 128, description: 'Digest of the image file' },
  owner: { type: nullable('string'), maxLength: 255, description: 'Owner of the image' },
  size: { type: nullable('integer'), readOnly: true, description: 'Size of image file in bytes' },
  virtual_size: { type: nullable('integer'), readOnly: true, description: 'Virtual size of image in bytes' },
  container_format: {
    type: nullable('string'),
    enum: [null, 'ami', 'ari', 'aki', 'bare', 'ovf', 'ova'],
    description: 'Format of the container',
  },
  disk_format: {
    type: nullable('string'),
    enum: [
      null,
      'ami',
      'ari',
      'aki',
      'vhd',
      'vhdx',
      'vmdk',
      'raw',
      'qcow',
      'qcow2',
      'qed',
      'vdi',
      'iso',
      'zvhd',
      'zvhd2',
    ],
    description: 'Format of the disk',
  },
  created_at: timestamp('Date and time of image registration'),
  updated_at: timestamp('Date and time of the last image modification'),
  tags: {
    type: 'array',
    items: { type: 'string', maxLength: 255 },
    description: 'List of strings related to the image',
  },
  min_ram: { type: 'integer', minimum: 0, description: 'Amount of ram (in MB) required to boot image.' },
  min_disk: { type: 'integer', minimum: 0, description: 'Amount of disk space (in GB) required to boot image.' },
  self: { type: 'string', readOnly: true },
  file: { type: 'string', readOnly: true },
  schema: { type: 'string', readOnly: true },
  direct_url: { type: 'string', readOnly: true, description: 'URL to access the image file kept in external store' },
  locations: {
    type: 'array',
    items: {
      type: 'object',
      required: ['url', 'metadata'],
      properties: { url: { type: 'string' }, metadata: { type: 'object' } },
    },
    description: 'A set of URLs to access the image file kept in external store',
  },
  architecture: { type: 'string', description: 'Operating system architecture' },
  os_distro: { type: 'string', description: 'Common name of operating system distribution' },
  os_version: { type: 'string', description: 'Operating system version as specified by the distributor' },
  kernel_id: {
    type: nullable('string'),
    pattern: UUID,
    description: 'ID of image stored in Glance that should be used as the kernel',
  },
  ramdisk_id: {
    type: nullable('string'),
    pattern: UUID,
    description: 'ID of image stored in Glance that should be used as the ramdisk',
  },
  instance_uuid: {
    type: 'string',
    description: 'Metadata which can be used to record which instance this image is associated with',
  },
  __system_support_market: { type: 'boolean', description: 'Whether the image may be published on the market' },
} as const;

const imageSchema = {
  name: 'image',
  properties: imageProperties,
  additionalProperties: { type: 'string' },
  links: [
    { rel: 'self', href: '{self}' },
    { rel: 'enclosure', href: '{file}' },
    { rel: 'describedby', href: '{schema}' },
  ],
} as const;

const memberSchema = {
  name: 'member',
  properties: {
    status: {
      type: 'string',
      enum: ['pending', 'accepted', 'rejected'],
      description: 'The status of this image member',
    },
    created_at: { type: 'string', description: 'Date and time of image member creation' },
    updated_at: { type: 'string', description: 'Date and time of last modification of image member' },
    image_id: { type: 'string', pattern: UUID, description: 'An identifier for the image' },
    member_id: { type: 'string', description: 'An identifier for the image member (tenantId)' },
    schema: { type: 'string', readOnly: true },
  },
} as const;

export const SCHEMA_DOCUMENTS = {
  image: imageSchema,
  images: {
    name: 'images',
    properties: {
      images: { type: 'array', items: imageSchema },
      first: { type: 'string' },
      next: { type: 'string' },
      schema: { type: 'string' },
    },
    links: [
      { rel: 'first', href: '{first}' },
      { rel: 'next', href: '{next}' },
      { rel: 'describedby', href: '{schema}' },
    ],
  },
  member: memberSchema,
  members: {
    name: 'members',
    properties: { members: { type: 'array', items: memberSchema }, schema: { type: 'string' } },
    links: [{ rel: 'describedby', href: '{schema}' }],
  },
} as const;

export type SchemaName = keyof typeof SCHEMA_DOCUMENTS;
