// Markdown of models as blocks to show. Nothing in it can run or ask another host: HTML is shown as the text that it
// is, an image as a link, and the rest is sanitized.

import createPurifier from 'dompurify';
import { Lexer, Marked, type Token, type Tokens } from 'marked';

export type Block =
  | { kind: 'html'; html: string }
  | { kind: 'code'; language: string; code: string }
  | { kind: 'list'; start: number | null; items: Item[] }
  | { kind: 'quote'; blocks: Block[] };

export interface Item {
  /** Whether a task is done; null if the item is no task. */
  done: boolean | null;
  blocks: Block[];
}

/** Maximum nesting of blocks. Deeper ones are shown as their source. */
const DEPTH_LIMIT = 12;
const ADDRESS = /^(?:https?:\/\/|mailto:)/i;

const purifier = createPurifier(window);
purifier.addHook('afterSanitizeAttributes', (node) => {
  if (node.tagName !== 'A') return;
  node.setAttribute('target', '_blank');
  node.setAttribute('rel', 'noopener noreferrer nofollow');
});

export function sanitize(html: string): string {
  return purifier.sanitize(html, {
    ALLOWED_TAGS: [
      ...['p', 'br', 'hr', 'strong', 'em', 'del', 'code', 'a', 'span', 'div'],
      ...['h2', 'h3', 'h4', 'h5', 'h6', 'table', 'thead', 'tbody', 'tr', 'th', 'td'],
    ],
    ALLOWED_ATTR: ['href', 'title', 'class', 'align', 'tabindex', 'role', 'aria-label'],
    ADD_URI_SAFE_ATTR: ['align', 'tabindex', 'role', 'aria-label'],
    ALLOWED_URI_REGEXP: ADDRESS,
    ALLOW_ARIA_ATTR: false,
    ALLOW_DATA_ATTR: false,
  });
}

function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function anchor(href: string, content: string, title?: string | null): string {
  if (!ADDRESS.test(href)) return content;
  return `<a href="${escape(href)}" title="${escape(title || href)}">${content}</a>`;
}

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    html({ text, block }) {
      if (/^<br\s*\/?>$/i.test(text.trim())) return '<br>';
      return block ? `<p class="literal">${escape(text.trimEnd())}</p>` : escape(text);
    },
    heading({ tokens, depth }) {
      const level = Math.min(depth + 1, 6);
      return `<h${level}>${this.parser.parseInline(tokens)}</h${level}>`;
    },
    link({ href, title, tokens }) {
      return anchor(href, this.parser.parseInline(tokens), title);
    },
    image({ href, text }) {
      return anchor(href, escape(text || 'Image'));
    },
    table({ header, rows }) {
      const cell = (name: string) => (cell: Tokens.TableCell) =>
        `<${name}${cell.align ? ` align="${cell.align}"` : ''}>${this.parser.parseInline(cell.tokens)}</${name}>`;
      const row = (cells: Tokens.TableCell[], name: string) => `<tr>${cells.map(cell(name)).join('')}</tr>`;
      const body = rows.map((cells) => row(cells, 'td')).join('');
      return (
        '<div class="scroll-x" tabindex="0" role="group" aria-label="Table">' +
        `<table><thead>${row(header, 'th')}</thead><tbody>${body}</tbody></table></div>`
      );
    },
  },
});

const literal = (text: string) => `<p class="literal">${escape(text)}</p>`;

function blocksOf(tokens: Token[], depth = 0): Block[] {
  return tokens.filter(({ type }) => type !== 'space' && type !== 'def').map((token) => blockOf(token, depth));
}

function blockOf(token: Token, depth: number): Block {
  if (depth > DEPTH_LIMIT) return { kind: 'html', html: sanitize(literal(token.raw)) };
  switch (token.type) {
    case 'code': {
      const { lang, text } = token as Tokens.Code;
      return { kind: 'code', language: lang?.match(/^[\w+#.-]+/)?.[0] ?? '', code: text };
    }
    case 'list': {
      const list = token as Tokens.List;
      const items = list.items.map((item) => ({
        done: item.task ? item.checked === true : null,
        blocks: blocksOf(item.tokens, depth + 1),
      }));
      return { kind: 'list', start: list.ordered ? Number(list.start) : null, items };
    }
    case 'blockquote':
      return { kind: 'quote', blocks: blocksOf((token as Tokens.Blockquote).tokens, depth + 1) };
    default:
      return { kind: 'html', html: sanitize(marked.parser([token])) };
  }
}

/** Parses a text that grows. Only its last block can still change, so what is before it is parsed once. */
export function incrementalParser(): (text: string) => Block[] {
  let source = '';
  let settled: Block[] = [];
  let definitions: Tokens.Def[] = [];
  return (text) => {
    text = text.replace(/\r\n?/g, '\n');
    if (!text.startsWith(source)) [source, settled, definitions] = ['', [], []];
    let rest = text.slice(source.length);
    try {
      const lexer = new Lexer(marked.defaults);
      for (const definition of definitions) lexer.tokens.links[definition.tag] ??= definition;
      const tokens = lexer.lex(rest);
      const last = tokens.findLastIndex(({ type }) => type !== 'space');
      const final = tokens.slice(0, Math.max(last, 0));
      while (final.length > 0 && rest.startsWith(final[0]!.raw)) {
        const token = final.shift()!;
        source += token.raw;
        rest = rest.slice(token.raw.length);
        if (token.type === 'def') definitions.push(token as Tokens.Def);
        settled.push(...blocksOf([token]));
      }
      return [...settled, ...blocksOf([...final, ...tokens.slice(last)])];
    } catch {
      // Markdown that is nested too deeply for the parser.
      return [...settled, { kind: 'html', html: sanitize(literal(rest)) }];
    }
  };
}
