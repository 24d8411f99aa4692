// Details of a passage of a document.

import type { Chunk } from '../lib/types';

/** A document to read, and the passage to show in it. */
export interface OpenDocument {
  document: string;
  title: string;
  chunk: Chunk | null;
}

const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : null);

export function titleOf(chunk: Chunk): string {
  return text(chunk.metadata.title) ?? chunk.document_id;
}

/** Page and heading, as far as the file has them. */
export function placeOf(chunk: Chunk): string {
  const { page, heading } = chunk.metadata;
  // A heading names those above it, too. The title stands beside it already.
  const [first, ...below] = (text(heading) ?? '').split(' > ');
  const headings = first === titleOf(chunk) ? below : [first, ...below];
  return [typeof page === 'number' ? `page ${page}` : '', headings.join(' > ')].filter((part) => part !== '').join(', ');
}

/** Range of the passage in its document, in characters. */
export function rangeOf(chunk: Chunk): [number, number] | null {
  const { char_start: start, char_end: end } = chunk.metadata;
  return typeof start === 'number' && typeof end === 'number' ? [start, end] : null;
}

export function openDocumentOf(chunk: Chunk): OpenDocument {
  return { document: chunk.document_id, title: titleOf(chunk), chunk };
}
