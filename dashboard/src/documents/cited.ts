// Citations in an answer.

import type { Source } from '../lib/types';
import './number.css';
import { titleOf } from './passage';

export interface Cited {
  sources: Source[];
  onopen: (source: Source) => void;
}

const CITATION = /\[(\d+(?:\s*,\s*\d+)*)\]/g;

/** Replaces the citations in a finished text by buttons: `[1]` opens the first source. */
export function cited(node: HTMLElement, { sources, onopen }: Cited) {
  const texts = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  const found: Text[] = [];
  while (texts.nextNode()) {
    const text = texts.currentNode as Text;
    if (!text.parentElement?.closest('code, pre, a, button')) found.push(text);
  }
  for (const text of found) {
    const parts: (string | HTMLElement)[] = [];
    let index = 0;
    for (const mark of text.data.matchAll(CITATION)) {
      const numbers = mark[1]!.split(',').map(Number);
      const named = numbers.map((number) => sources.find((source) => source.number === number));
      if (!named.every((source) => source !== undefined)) continue;
      parts.push(text.data.slice(index, mark.index), ...named.map((source) => button(source, onopen)));
      index = mark.index + mark[0].length;
    }
    if (index > 0) text.replaceWith(...parts, text.data.slice(index));
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
