// Ways into a session: an API key, or the address that the server prints when it starts.

import { api, ApiError, send } from './api';
import { session } from './session.svelte';

/** The one-time token in the address, which is removed from it. */
export function tokenOfAddress(): string | null {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token !== null) history.replaceState(null, '', location.pathname);
  return token;
}

/** A session key for a one-time token. */
export async function exchange(token: string): Promise<string> {
  const reply = await api<{ key: string }>('/dashboard/session', { body: { token }, key: '' });
  return reply.key;
}

/** Asks the server whether it accepts the key. Throws if it does not. */
export async function check(key: string): Promise<void> {
  // Browsers refuse to send other characters in a header, and servers refuse long headers.
  if (!/^[ -~]{0,256}$/.test(key)) throw new ApiError('This API key is not valid.', 401);
  await api('/models/loaded', { key });
}

/** Ends the session here at once and on the server in the background. API keys stay valid. */
export function signOut() {
  const { key } = session;
  session.end();
  if (!key?.startsWith('session-')) return;
  const end = () => send('/dashboard/session', { method: 'DELETE', key, keepalive: true });
  end().catch(() => addEventListener('online', () => void end().catch(() => {}), { once: true }));
}
