// Colors of code. The highlighter is loaded when the first code is shown.

import type { HLJSApi } from 'highlight.js';
import { sanitize } from '../lib/markdown';

let highlighter = $state.raw<HLJSApi>();
let isRequested = false;

/** Code as HTML with colors; null while the highlighter is on its way or does not know the language. */
export function highlighted(code: string, language: string): string | null {
  if (!isRequested) {
    isRequested = true;
    // Without it, code is shown in one color.
    void import('./languages').then((module) => (highlighter = module.default)).catch(() => {});
  }
  if (!highlighter?.getLanguage(language)) return null;
  return sanitize(highlighter.highlight(code, { language, ignoreIllegals: true }).value);
}
