// Requests to the server, with the session's key. Every failure but an abort is an ApiError.

import { session } from './session.svelte';

/** A request that failed. `status` is 0 if no reply came. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

export interface Request {
  method?: 'GET' | 'POST' | 'DELETE';
  query?: Record<string, string | number | undefined>;
  body?: unknown;
  form?: FormData;
  headers?: Record<string, string>;
  signal?: AbortSignal;
  /** Replaces the session's key. */
  key?: string;
  /** Whether it goes on when the tab is closed. */
  keepalive?: boolean;
}

export async function send(path: string, request: Request = {}): Promise<Response> {
  const { method, query, body, form, signal, keepalive } = request;
  const headers: Record<string, string> = { accept: 'application/json', ...request.headers };
  const key = request.key ?? session.key;
  if (key) headers['x-api-key'] = key;
  if (body !== undefined) headers['content-type'] = 'application/json';
  let response: Response;
  try {
    response = await fetch(path + search(query), {
      method: method ?? (body === undefined && !form ? 'GET' : 'POST'),
      headers,
      body: form ?? (body === undefined ? undefined : JSON.stringify(body)),
      signal,
      keepalive,
      // With a body the browser keeps nothing anyway, and `no-store` would have the server pass over its own cache.
      cache: body === undefined && !form ? 'no-store' : 'default',
      redirect: 'error',
    });
  } catch (error) {
    throw broken(error, 'The server does not answer. Check that it is running.');
  }
  if (response.ok) return response;
  const failure = await failureOf(response);
  if (response.status === 401 && request.key === undefined && key !== null && key === session.key)
    session.end('Your key is no longer valid. Sign in again.');
  throw failure;
}

export async function api<T>(path: string, request?: Request): Promise<T> {
  const response = await send(path, request);
  try {
    return (await response.json()) as T;
  } catch (error) {
    throw broken(error, 'The reply of the server could not be read.');
  }
}

/** Server-sent events of a reply, each with its data as JSON, until it ends. An `error` event is thrown. */
export async function* events<T>(response: Response): AsyncGenerator<T> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        throw broken(error, 'The connection to the server was lost.');
      });
      if (done) return;
      rest += value;
      const blocks = rest.split('\n\n');
      rest = blocks.pop()!;
      for (const block of blocks) {
        const lines = block.split('\n');
        const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trimStart());
        if (data.length === 0) continue;
        const event = parse(data.join('\n'));
        if (lines.includes('event: error')) throw new ApiError(detailOf(event) ?? 'The reply broke off.', 500);
        yield event as T;
      }
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw broken(error, 'The reply of the server could not be read.');
  }
}

/** A request that was aborted stays that, and anything else is an ApiError without a status. */
function broken(error: unknown, message: string): unknown {
  return isAbort(error) ? error : new ApiError(message, 0);
}

function search(query: Request['query']): string {
  const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)]))}`;
}

async function failureOf(response: Response): Promise<ApiError> {
  const body: unknown = await response.json().catch(() => null);
  const detail = detailOf(body) ?? `The server answered with status ${response.status}.`;
  return new ApiError(detail, response.status);
}

/** The sentence of a problem (RFC 9457) or of OpenAI's error. */
function detailOf(body: unknown): string | undefined {
  if (typeof body !== 'object' || body === null) return undefined;
  if ('detail' in body && typeof body.detail === 'string') return body.detail;
  if ('error' in body && typeof body.error === 'object' && body.error !== null && 'message' in body.error)
    return String(body.error.message);
  return undefined;
}

/** Text to show for any failure. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export function isAbort(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'AbortError';
}
