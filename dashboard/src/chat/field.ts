// Fields to write messages in.

/** As high as its text, within what its style allows. The parameter is the text. */
export function grows(node: HTMLTextAreaElement, _text: string) {
  const fit = () => {
    node.style.height = 'auto';
    node.style.height = `${node.scrollHeight + node.offsetHeight - node.clientHeight}px`;
  };
  fit();
  return { update: fit };
}

/** Enter sends, with Shift it begins a line. Enter that ends a choice of an input method does neither. */
export function sendsOnEnter(event: KeyboardEvent, send: () => void) {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}
