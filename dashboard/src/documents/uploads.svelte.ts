// Files on their way into a collection, one after the other. They go on while other pages are open.

import { events, isAbort, messageOf, send } from '../lib/api';
import { plural } from '../lib/format';
import { IMAGE_TYPES } from '../lib/images';
import { session } from '../lib/session.svelte';
import type { IngestEvent, IngestReply } from '../lib/types';

/** An event, the last of which also has the fields of a reply. */
type Event = IngestEvent & Partial<IngestReply>;

export interface Upload {
  id: number;
  file: File;
  collection: string;
  stage: 'waiting' | 'sending' | 'extracting' | 'embedding' | 'storing' | 'done' | 'failed';
  chunks: number;
  embedded: number;
  error: string | null;
  /** Whether the same text was there already. */
  unchanged: boolean;
}

const ENDED: readonly Upload['stage'][] = ['done', 'failed'];

export function hasEnded(upload: Upload): boolean {
  return ENDED.includes(upload.stage);
}

/** Progress from 0 to 1, or null if it is unknown. */
export function progress({ stage, chunks, embedded }: Upload): number | null {
  if (stage === 'waiting') return 0;
  if (stage === 'sending' || stage === 'extracting') return null;
  return stage === 'embedding' ? embedded / Math.max(chunks, 1) : 1;
}

export function describe({ stage, chunks, embedded, unchanged }: Upload): string {
  switch (stage) {
    case 'waiting':
      return 'Waiting';
    case 'sending':
      return 'Sending';
    case 'extracting':
      return 'Reading the text';
    case 'embedding':
      return `${embedded} of ${plural(chunks, 'chunk')}`;
    case 'storing':
      return 'Storing';
    case 'done':
      return unchanged ? 'Unchanged' : plural(chunks, 'chunk');
    case 'failed':
      return '';
  }
}

class Uploads {
  all = $state<Upload[]>([]);
  /** Number of documents that have arrived. */
  arrived = $state(0);
  #next = 0;
  #running = false;
  #aborts = new Map<number, AbortController>();

  constructor() {
    session.onEnd(() => {
      this.all = [];
      this.#aborts.forEach((abort) => abort.abort());
    });
  }

  add(files: File[], collection: string) {
    const fresh = { collection, stage: 'waiting', chunks: 0, embedded: 0, error: null, unchanged: false } as const;
    this.all.push(...files.map((file) => ({ ...fresh, id: this.#next++, file })));
    void this.#run();
  }

  retry(upload: Upload) {
    Object.assign(upload, { stage: 'waiting', chunks: 0, embedded: 0, error: null });
    void this.#run();
  }

  /** Takes a file off the list, and stops it if it is on its way. */
  remove(upload: Upload) {
    this.#aborts.get(upload.id)?.abort();
    this.all = this.all.filter(({ id }) => id !== upload.id);
  }

  clear() {
    this.all = this.all.filter((upload) => !hasEnded(upload));
  }

  async #run() {
    if (this.#running) return;
    this.#running = true;
    for (;;) {
      const upload = this.all.find(({ stage }) => stage === 'waiting');
      if (!upload) break;
      await this.#send(upload);
    }
    this.#running = false;
  }

  async #send(upload: Upload) {
    if (IMAGE_TYPES.includes(upload.file.type)) {
      upload.error = 'This is an image. The Vision page reads the text in images.';
      upload.stage = 'failed';
      return;
    }
    const abort = new AbortController();
    this.#aborts.set(upload.id, abort);
    upload.stage = 'sending';
    const form = new FormData();
    form.append('stream', 'true');
    form.append('collection', upload.collection);
    form.append('metadata', JSON.stringify({ file: upload.file.name }));
    form.append('file', upload.file);
    try {
      for await (const event of events<Event>(await send('/rag/upload', { form, signal: abort.signal }))) {
        if (event.status === 'success') {
          upload.chunks = event.chunk_ids?.length ?? upload.chunks;
          upload.unchanged = event.chunks_created === 0;
          upload.stage = 'done';
        } else {
          upload.stage = event.status as Upload['stage'];
          upload.chunks = event.chunks ?? upload.chunks;
          upload.embedded = event.embedded ?? upload.embedded;
        }
      }
      if (!hasEnded(upload)) throw new Error('The reply broke off before the document was stored.');
      this.arrived++;
    } catch (error) {
      if (isAbort(error)) return;
      const message = messageOf(error);
      upload.error = message[0]!.toUpperCase() + message.slice(1);
      upload.stage = 'failed';
    } finally {
      this.#aborts.delete(upload.id);
    }
  }
}

export const uploads = new Uploads();
