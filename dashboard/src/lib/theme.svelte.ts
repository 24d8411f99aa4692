// Light or dark: the system's choice until the user makes another.

const STORED = 'simpleton.theme';
export type Theme = 'light' | 'dark';

const system = matchMedia('(prefers-color-scheme: dark)');

function chosen(): Theme | null {
  try {
    const theme = localStorage.getItem(STORED);
    return theme === 'light' || theme === 'dark' ? theme : null;
  } catch {
    return null;
  }
}

class ThemeChoice {
  current = $state<Theme>(chosen() ?? (system.matches ? 'dark' : 'light'));

  constructor() {
    this.#show();
    system.addEventListener('change', () => {
      if (chosen() === null) this.#set(system.matches ? 'dark' : 'light');
    });
  }

  toggle() {
    this.#set(this.current === 'dark' ? 'light' : 'dark');
    try {
      localStorage.setItem(STORED, this.current);
    } catch {
      // Without storage the choice lasts until the page is reloaded.
    }
  }

  #set(theme: Theme) {
    this.current = theme;
    this.#show();
  }

  #show() {
    document.documentElement.dataset.theme = this.current;
  }
}

export const theme = new ThemeChoice();
