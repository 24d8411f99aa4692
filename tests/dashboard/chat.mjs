// A chat on the real model: streamed, from the cache, asked again, and stopped. Images that are pasted. And answers that
// want to run scripts.

import assert from 'node:assert/strict';
import { open, withBrowser } from './browser.mjs';

const HOSTILE = [
  '<script>globalThis.hacked = 1</script>',
  '<img src=x onerror="globalThis.hacked = 2">',
  '[press me](javascript:globalThis.hacked=3)',
  '[or me](data:text/html,<script>globalThis.hacked=4</script>)',
  '![an image](https://example.com/track.png)',
  '<iframe srcdoc="<script>parent.hacked = 5</script>"></iframe>',
  '<svg onload="globalThis.hacked = 6"><a xlink:href="javascript:globalThis.hacked=7">x</a></svg>',
  '<form action="https://example.com"><input name="children"></form>',
  '<style>body { display: none }</style>',
  '<math><mtext><table><mglyph><style><img src=x onerror="globalThis.hacked=8">',
  '```html\n<img src=x onerror="globalThis.hacked = 9">\n```',
];

/** Pastes or drops an image, and a text unless it is empty. */
function transfer(page, type, text) {
  return page.evaluate(
    ([type, text]) => {
      const data = new DataTransfer();
      const bytes = Uint8Array.from(atob('R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7'), (code) => code.charCodeAt(0));
      data.items.add(new File([bytes], 'dot.gif', { type: 'image/gif' }));
      if (text) data.setData('text/plain', text);
      const options = { bubbles: true, cancelable: true };
      const event =
        type === 'paste' ? new ClipboardEvent(type, { ...options, clipboardData: data }) : new DragEvent(type, { ...options, dataTransfer: data });
      document.activeElement.dispatchEvent(event);
      return event.defaultPrevented;
    },
    [type, text],
  );
}

await withBrowser(async (browser) => {
  const page = await open(browser, 'chat');
  const requests = [];
  page.on('request', (request) => request.url().endsWith('/inference/chat') && requests.push(request.headers()));
  const composer = page.getByRole('textbox', { name: /^Message/ });
  const answers = page.locator('article');
  const ask = async (text) => {
    await composer.fill(text);
    await page.keyboard.press('Enter');
  };
  const done = () => page.getByRole('button', { name: 'Stop' }).waitFor({ state: 'detached' });

  await page.getByLabel('Temperature').fill('0');
  await page.getByLabel('Max tokens').fill('32');
  await ask('What is the capital of France?');
  await answers.first().getByText('Paris').waitFor();
  await done();
  await answers.getByText(/tokens per second|tok\/s|tokens\/s/i).first().waitFor();

  await page.getByRole('button', { name: 'Clear the chat' }).click();
  await ask('What is the capital of France?');
  await answers.getByText('From cache').waitFor();

  await page.getByRole('button', { name: 'Answer again' }).click();
  await done();
  await answers.getByText('From cache').waitFor({ state: 'detached' });
  assert.equal(requests.at(-1)['cache-control'], 'no-cache');
  await answers.first().getByText('Paris').waitFor();

  await page.getByLabel('Max tokens').fill('400');
  await ask('Count from 1 to 100 in words.');
  await answers.nth(1).locator('.markdown').getByText(/\w/).first().waitFor();
  await page.getByRole('button', { name: 'Stop' }).click();
  await done();

  // In Safari, Enter that ends a composition is told by its code only.
  await composer.fill('compose');
  const enter = { key: 'Enter', keyCode: 229, bubbles: true, cancelable: true };
  assert.ok(await composer.evaluate((field, enter) => field.dispatchEvent(new KeyboardEvent('keydown', enter)), enter));
  assert.equal(await composer.inputValue(), 'compose');

  // Office programs add an image of the text that was copied, file managers the name of the file.
  const thumbnails = page.getByRole('list', { name: 'Images' }).getByRole('img');
  assert.equal(await transfer(page, 'paste', 'A\t1'), false);
  assert.equal(await transfer(page, 'paste', 'dot.gif'), true);
  await thumbnails.waitFor();
  assert.equal(await transfer(page, 'drop'), true);
  await thumbnails.nth(1).waitFor();
  await page.locator('input[type=file]').setInputFiles({ name: 'bad.png', mimeType: 'image/png', buffer: Buffer.from('no image') });
  await page.getByText('bad.png cannot be opened as an image.').waitFor();
  await page.getByRole('button', { name: 'Copy as' }).click();
  assert.equal(await transfer(page, 'paste'), false);

  // Without the clipboard, which browsers offer on https and localhost only.
  const copyCode = page.getByRole('dialog').getByRole('button', { name: 'Copy code' });
  await page.evaluate(() => {
    Object.defineProperty(navigator, 'clipboard', { value: undefined });
    document.addEventListener('copy', () => (globalThis.copied = document.activeElement.value));
  });
  await copyCode.click();
  await page.getByRole('dialog').getByText('Copied').waitFor();
  assert.match(await page.evaluate(() => globalThis.copied), /^curl /);
  await page.evaluate(() => (document.execCommand = () => false));
  await copyCode.click();
  await page.getByRole('dialog').getByText('Could not copy').waitFor();
  await page.keyboard.press('Escape');
  assert.equal(await thumbnails.count(), 2);
  for (const _ of [1, 2]) await page.getByRole('button', { name: 'Remove dot.gif' }).first().click();
  await page.getByLabel('Temperature').fill('0.75');
  assert.equal(await page.locator('input:invalid').count(), 0);

  // Answers of a model are data.
  await page.route('**/inference/chat', (route) => {
    const events = HOSTILE.map((part) => ({ message: { role: 'assistant', content: `${part}\n\n` }, done: false }));
    events.push({ message: { role: 'assistant', content: 'The end.' }, done: true, done_reason: 'stop', eval_count: 1 });
    const body = events.map((event) => `data: ${JSON.stringify({ model: 'm', ...event })}\n\n`).join('');
    return route.fulfill({ status: 200, contentType: 'text/event-stream', body });
  });
  await ask('Attack me.');
  const hostile = answers.nth(2);
  await hostile.getByText('The end.').waitFor();
  await hostile.getByText('press me').click();
  await page.waitForTimeout(200);
  assert.equal(await page.evaluate(() => globalThis.hacked), undefined);
  const forbidden = 'script, iframe, form, style, img, [onerror], [onload], [href^="javascript:"], [href^="data:"]';
  assert.equal(await hostile.locator(forbidden).count(), 0);
  page.check();
});
