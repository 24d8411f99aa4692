// Pages by their path below /dashboard/.

const BASE = import.meta.env.BASE_URL;

function current(): string {
  return location.pathname.startsWith(BASE) ? location.pathname.slice(BASE.length).replace(/\/$/, '') : '';
}

class Router {
  path = $state(current());

  constructor() {
    addEventListener('popstate', () => this.#open(current()));
  }

  go(path: string) {
    if (path === this.path) return;
    history.pushState(null, '', BASE + path);
    this.#open(path);
    scrollTo(0, 0);
  }

  #open(path: string) {
    if (path === this.path) return;
    this.path = path;
    // The keyboard goes on from there, and screen readers with the new page.
    document.getElementById('main')?.focus({ preventScroll: true });
  }

  href(path: string): string {
    return BASE + path;
  }
}

export const router = new Router();

/** Follows a link within the dashboard without loading the page again. */
export function link(node: HTMLAnchorElement) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    router.go(new URL(node.href).pathname.slice(BASE.length));
  };
  node.addEventListener('click', follow);
  return { destroy: () => node.removeEventListener('click', follow) };
}
