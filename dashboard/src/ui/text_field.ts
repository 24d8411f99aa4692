// Text fields for messages.

/** Keeps a field as high as its text, within the limits of its style. The parameter is the text. */
export function grows(node: HTMLTextAreaElement, _text: string) {
  let width = 0;
  const fit = () => {
    width = node.offsetWidth;
    node.style.height = 'auto';
    if (width > 0) node.style.height = `${node.scrollHeight + node.offsetHeight - node.clientHeight}px`;
  };
  // A field that was hidden or becomes narrower; in the next frame, since an observer must not resize what it observes.
  const resized = new ResizeObserver(() => node.offsetWidth !== width && requestAnimationFrame(fit));
  resized.observe(node);
  fit();
  return { update: fit, destroy: () => resized.disconnect() };
}

/** Key code of keys that an input method handles. */
const COMPOSITION_KEY_CODE = 229;

/** Sends on Enter without Shift. Enter that ends a composition is ignored; Safari marks it by its key code only. */
export function sendsOnEnter(event: KeyboardEvent, send: () => void) {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === COMPOSITION_KEY_CODE) return;
  event.preventDefault();
  send();
}
