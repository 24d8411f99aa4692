// A request as a command and as a program. The key stays in the environment.

import { base64Of, type ImageFile } from '../lib/images';
import type { ChatBody } from './request';

interface Asked {
  body: ChatBody;
  images: readonly ImageFile[];
}

export function curlOf({ body, images }: Asked, origin: string): string {
  const names = namesOf(images);
  const found: string[] = [];
  const json = JSON.stringify(
    body,
    (name, value: unknown) =>
      name === 'images' ? (value as string[]).map((base64) => `\0${found.push(names.get(base64) ?? 'image') - 1}`) : value,
    2,
  );
  // Parts at odd indexes are the numbers of images.
  const parts = json.split(/(?<=")\\u0000(\d+)(?=")/);
  const withImages = () =>
    parts
      .map((part, index) => (index % 2 === 0 ? part.replace(/[\\$`]/g, '\\$&') : `$(base64 < ${quoted(found[Number(part)]!)} | tr -d '\\n')`))
      .join('');
  return [
    `curl ${origin}/inference/chat \\`,
    '  -H "X-API-Key: $KEY" \\',
    '  -H "Content-Type: application/json" \\',
    `  -d @- <<${found.length === 0 ? "'EOF'" : 'EOF'}`,
    found.length === 0 ? json : withImages(),
    'EOF',
  ].join('\n');
}

export function pythonOf({ body, images }: Asked, origin: string): string {
  const names = namesOf(images);
  const { model, messages, ...parameters } = body;
  const said = messages.map(({ role, content, images }) => ({
    role,
    content: images
      ? [
          { type: 'text', text: content },
          ...images.map((base64) => ({
            type: 'image_url',
            image_url: { url: new Expression(`data_url(${JSON.stringify(names.get(base64) ?? 'image')})`) },
          })),
        ]
      : content,
  }));
  const helper = [
    'def data_url(path):',
    '    with open(path, "rb") as file:',
    '        return "data:;base64," + base64.b64encode(file.read()).decode()',
    '',
    '',
  ];
  const hasImages = messages.some((message) => message.images);
  return [
    ...(hasImages ? ['import base64'] : []),
    'import os',
    '',
    'from openai import OpenAI',
    '',
    ...(hasImages ? ['', ...helper] : []),
    `client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=os.environ["KEY"])`,
    '',
    'reply = client.chat.completions.create(',
    ...Object.entries({ model, messages: said, ...parameters }).map(([name, value]) => `    ${name}=${literal(value, 4)},`),
    ')',
    'print(reply.choices[0].message.content)',
  ].join('\n');
}

class Expression {
  constructor(readonly text: string) {}
}

function literal(value: unknown, indent: number): string {
  if (value instanceof Expression) return value.text;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const isList = Array.isArray(value);
  const inner = isList
    ? value.map((item) => literal(item, indent + 4))
    : Object.entries(value).map(([name, item]) => `${JSON.stringify(name)}: ${literal(item, indent + 4)}`);
  const [open, close] = isList ? '[]' : '{}';
  const flat = `${open}${inner.join(', ')}${close}`;
  if (flat.length + indent < 88 && !flat.includes('\n')) return flat;
  const space = ' '.repeat(indent);
  return `${open}\n${inner.map((item) => `${space}    ${item},\n`).join('')}${space}${close}`;
}

/** Names of files by content. Pasted images all have the same name, which is numbered. */
function namesOf(images: readonly ImageFile[]): Map<string, string> {
  const names = new Map<string, string>();
  const taken = new Set<string>();
  for (const image of images) {
    const base64 = base64Of(image);
    if (names.has(base64)) continue;
    let free = image.name;
    for (let number = 2; taken.has(free); number++) free = image.name.replace(/(\.\w+)?$/, `-${number}$1`);
    taken.add(free);
    names.set(base64, free);
  }
  return names;
}

/** A word of the shell. */
function quoted(text: string): string {
  return /^[\w.-]+$/.test(text) && !text.startsWith('-') ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
