// The server's version, read once.

import { api } from './api';

class Version {
  value = $state<string>();

  constructor() {
    void api<{ version: string }>('/', { key: '' })
      .then((root) => (this.value = root.version))
      .catch(() => {});
  }
}

export const version = new Version();
