import { readFile } from 'node:fs/promises';
import { queue } from './kept-files';
import type { Prepared, Source, SourceBench } from './source';

// Two pieces, so that the second one goes on where the first ended.
const PIECES = 2;

/** A file that is kept as it came, whichever way it came. */
const kept = async (
  bench: SourceBench,
  send: (imageId: string, file: Buffer) => Promise<unknown>,
): Promise<Prepared> => {
  const file = await readFile(bench.otherRaw);
  return {
    submit: async () => {
      const id = await queue(bench, 'raw');
      await send(id, file);
      return bench.jobOf(id);
    },
    images: [{ raw: bench.otherRaw, file: bench.otherRaw, fields: { disk_format: 'raw', __root_origin: 'file' } }],
  };
};

const done = async (answer: Promise<{ status: number; text: string }>, status: number): Promise<void> => {
  const { status: got, text } = await answer;
  if (got !== status) throw new Error(`${got} instead of ${status}: ${text}`);
};

const importOf = (bench: SourceBench, id: string, method: object) => bench.post(`/v2/images/${id}/import`, { method });

const inPieces: Source = {
  name: 'an upload of several pieces',
  cites: 'CRE-09',
  prepare: (bench) =>
    kept(bench, async (id, file) => {
      const upload = `/v2/images/${id}/upload`;
      await done(bench.post(upload, {}), 201);
      const piece = Math.ceil(file.length / PIECES);
      for (let at = 0; at < file.length; at += piece) {
        const { json } = await bench.stack.call('GET', upload);
        // What the service has, which is where the next piece begins.
        const { offset } = json as { offset: number };
        await done(
          bench.stack.sendBytes('PATCH', upload, file.subarray(offset, offset + piece), {
            'content-type': 'application/offset+octet-stream',
            'upload-offset': String(offset),
          }),
          204,
        );
      }
      await done(bench.post(`${upload}/complete`, { size: file.length }), 202);
    }),
};

const staged: Source = {
  name: 'a staged file',
  cites: 'CRE-09',
  prepare: (bench) =>
    kept(bench, async (id, file) => {
      const type = { 'content-type': 'application/octet-stream' };
      await done(bench.stack.sendBytes('PUT', `/v2/images/${id}/stage`, file, type), 204);
      await done(importOf(bench, id, { name: 'glance-direct' }), 202);
    }),
};

const fromWeb: Source = {
  name: 'a file of the web',
  cites: 'CRE-09',
  prepare: (bench) =>
    kept(bench, async (id, file) => {
      bench.web.files.set('/data.raw', { bytes: file, etag: '"1"' });
      await done(importOf(bench, id, { name: 'web-download', uri: bench.web.urlOf('/data.raw') }), 202);
    }),
  refusals: [
    ...['http://169.254.169.254/latest/meta-data', 'http://[::1]/disk.raw', 'file:///etc/passwd'].map((uri) => ({
      what: `the address ${uri}`,
      code: 'IMG.0057',
      call: async (bench: SourceBench) => bench.importedFrom(await queue(bench, 'raw'), uri),
    })),
    {
      what: 'a redirect to where nobody may go',
      code: 'IMG.0057',
      call: async (bench) => {
        bench.web.handlers.set('/elsewhere', (_request, response) =>
          response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end(),
        );
        return bench.importedFrom(await queue(bench, 'raw'), bench.web.urlOf('/elsewhere'));
      },
    },
  ],
};

export const UPLOADS: readonly Source[] = [inPieces, staged, fromWeb];
