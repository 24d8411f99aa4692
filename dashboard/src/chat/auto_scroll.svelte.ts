// Keeps the end of the page in sight while it grows, unless the user has scrolled up.

/** Pixels that still count as the end. */
const END_THRESHOLD = 24;

export class AutoScroll {
  following = $state(true);
  #top = 0;
  #height = 0;

  /** An action: the element that grows. */
  readonly grows = (node: HTMLElement) => {
    const grown = new ResizeObserver(() => this.following && this.toEnd());
    grown.observe(node);
    addEventListener('scroll', this.#scrolled, { passive: true });
    return {
      destroy: () => {
        grown.disconnect();
        removeEventListener('scroll', this.#scrolled);
      },
    };
  };

  toEnd() {
    this.following = true;
    scrollTo(0, document.documentElement.scrollHeight);
  }

  readonly #scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = document.documentElement;
    // A page that has become shorter moves up by itself.
    const up = scrollTop < this.#top && scrollHeight >= this.#height;
    if (up) this.following = false;
    if (!up && scrollHeight - scrollTop - clientHeight < END_THRESHOLD) this.following = true;
    this.#top = scrollTop;
    this.#height = scrollHeight;
  };
}
