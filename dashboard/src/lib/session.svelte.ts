// The API key of this browser tab. It is kept in the session storage only, never in a URL.

const STORED = 'simpleton.key';

function stored(): string | null {
  try {
    return sessionStorage.getItem(STORED);
  } catch {
    return null;
  }
}

class Session {
  key = $state<string | null>(stored());
  /** Reason for the end of the last session. */
  notice = $state<string | null>(null);
  #endCallbacks: (() => void)[] = [];

  /** Begins a session in place of another one, if there is one. */
  begin(key: string) {
    if (this.key !== null && this.key !== key) this.end();
    try {
      sessionStorage.setItem(STORED, key);
    } catch {
      // Without storage the session lasts until the page is reloaded.
    }
    this.notice = null;
    this.key = key;
  }

  end(notice: string | null = null) {
    try {
      sessionStorage.removeItem(STORED);
    } catch {
      // The storage is unavailable, so nothing was stored.
    }
    this.notice = notice;
    this.key = null;
    this.#endCallbacks.forEach((callback) => callback());
  }

  /** Calls back at the end of each session, to stop and forget all that outlasts a page. */
  onEnd(callback: () => void) {
    this.#endCallbacks.push(callback);
  }
}

export const session = new Session();
