// The marks of an answer that cite its sources.

import type { Source } from '../lib/types';
import './number.css';
import { titleOf } from './passage';

export interface Cited {
  sources: Source[];
  onopen: (source: Source) => void;
}

const MARK = /\[(\d+(?:\s*,\s*\d+)*)\]/g;

/** Makes buttons of the marks in a text that does not change any more: `[1]` opens the first source. */
export function cited(node: HTMLElement, { sources, onopen }: Cited) {
  const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const found: Text[] = [];
  while (texts.nextNode()) {
    const text = texts.currentNode as Text;
    if (!text.parentElement?.closest('code, pre, a, button')) found.push(text);
  }
  for (const text of found) {
    const parts: (string | HTMLElement)[] = [];
    let at = 0;
    for (const mark of text.data.matchAll(MARK)) {
      const numbers = mark[1]!.split(',').map(Number);
      const named = numbers.map((number) => sources.find((source) => source.number === number));
      if (!named.every((source) => source !== undefined)) continue;
      parts.push(text.data.slice(at, mark.index), ...named.map((source) => button(source, onopen)));
      at = mark.index + mark[0].length;
    }
    if (at > 0) text.replaceWith(...parts, text.data.slice(at));
  }
}

function button(source: Source, onopen: Cited['onopen']): HTMLElement {
  const made = document.createElement('button');
  made.type = 'button';
  made.className = 'source-number';
  made.textContent = String(source.number);
  made.title = titleOf(source);
  made.setAttribute('aria-label', `Source ${source.number}: ${titleOf(source)}`);
  made.addEventListener('click', () => onopen(source));
  return made;
}
