// A file that is added with its progress, found again, and asked; a source is highlighted in its text.

import assert from 'node:assert/strict';
import { api, KEY, open, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  const page = await open(browser, 'documents', { expected: ['404', '503'] });
  const content = Buffer.from(
    '# Lighthouses\n\n😀 The lighthouse of Sandhavn was built in 1887.\n\n## Keepers\n\nIts keeper is Marit Olsen.\n',
  );
  const [choice] = await Promise.all([
    page.waitForEvent('filechooser'),
    page.getByRole('button', { name: 'Add files', exact: true }).click(),
  ]);
  await choice.setFiles({ name: 'lighthouses.md', mimeType: 'text/markdown', buffer: content });
  await page.getByRole('button', { name: 'Delete lighthouses', exact: false }).waitFor();
  await page.getByRole('list', { name: 'Documents' }).getByText('lighthouses.md ·').waitFor();

  // Nothing is cut off on a phone.
  await page.setViewportSize({ width: 375, height: 812 });
  const results = await page.getByLabel('Results').first().boundingBox();
  assert.ok(results.x + results.width <= 342, `${results.x + results.width}`);
  await page.setViewportSize({ width: 1440, height: 900 });

  const question = page.getByLabel('Question about the documents');
  assert.ok(await question.evaluate((field) => field === document.activeElement));
  await question.fill('When was the lighthouse of Sandhavn built?');
  await page.keyboard.press('Enter');
  const sources = page.getByRole('list', { name: 'Sources' });
  await sources.waitFor();
  await page.getByRole('region', { name: 'Answer' }).getByText('1887').waitFor();
  await sources.getByRole('button').first().click();
  await page.locator('mark').first().waitFor();
  const marked = (await page.locator('mark').allInnerTexts()).join('');
  assert.ok(marked.includes('1887') || marked.includes('Marit'), marked);
  await page.keyboard.press('Escape');

  await page.getByRole('button', { name: 'Delete lighthouses', exact: false }).click();
  await page.route('**/rag/documents/*', (route) => route.fulfill({ status: 503, json: { detail: 'Try later.' } }), { times: 1 });
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('dialog').getByText('Try later.').waitFor();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('button', { name: 'Delete lighthouses', exact: false }).waitFor({ state: 'detached' });
  const { documents } = await (await api('/rag/documents')).json();
  assert.deepEqual(documents ?? [], []);

  // The choice of a collection outlasts the page, but not the session.
  const chosen = () => page.getByLabel('Collection', { exact: true }).inputValue();
  const usual = await chosen();
  await page.getByRole('button', { name: 'New collection' }).click();
  await page.getByLabel('Name', { exact: true }).fill('other');
  await page.keyboard.press('Enter');
  await page.getByRole('link', { name: 'Cache' }).click();
  await page.getByRole('link', { name: 'Documents' }).click();
  assert.equal(await chosen(), 'other');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key').fill(KEY);
  await page.keyboard.press('Enter');
  assert.equal(await chosen(), usual);
  page.check();
});

// Documents that are shown stay shown when others arrive, and a drop of a folder and of many files is told.
await withBrowser(async (browser) => {
  const page = await open(browser, '', { expected: ['404'] });
  await Promise.all(
    Array.from({ length: 22 }, (_, at) =>
      api('/rag/ingest', { body: { collection: 'many', document_id: `note-${at}`, content: `Note ${at}` } }),
    ),
  );
  await page.route('**/settings', async (route) => {
    const reply = await (await route.fetch()).json();
    reply.settings.find(({ name }) => name === 'DEFAULT_COLLECTION').value = 'many';
    await route.fulfill({ json: reply });
  });
  await page.getByRole('link', { name: 'Documents' }).click();
  const rows = page.getByRole('list', { name: 'Documents' }).getByRole('listitem');
  await rows.nth(19).waitFor();
  assert.equal(await rows.count(), 20);
  await page.getByRole('button', { name: 'Show more' }).click();
  await rows.nth(21).waitFor();
  await page.locator('input[type=file]').setInputFiles({ name: 'one.txt', mimeType: 'text/plain', buffer: Buffer.from('One more.') });
  await page.getByText('23 documents').waitFor();
  await rows.nth(22).waitFor();

  await page.evaluate(() => {
    DataTransferItem.prototype.webkitGetAsEntry = () => ({ isDirectory: true });
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([], 'reports'));
    document.body.dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }));
  });
  await page.getByText('reports is a folder.').waitFor();
  let sent = 0;
  const stopped = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/rag/upload'));
  await page.route('**/rag/upload', () => void sent++);
  await page.locator('input[type=file]').setInputFiles(
    Array.from({ length: 500 }, (_, at) => ({ name: `${at}.txt`, mimeType: 'text/plain', buffer: Buffer.from(`${at}`) })),
  );
  await page.getByText('of 501 files shown').waitFor();
  assert.ok((await page.getByRole('list', { name: 'Uploads' }).getByRole('listitem').count()) < 50);

  // Uploads end with the session.
  await page.getByRole('button', { name: 'Sign out' }).click();
  await stopped;
  await page.getByLabel('API key').fill(KEY);
  await page.keyboard.press('Enter');
  await rows.first().waitFor();
  assert.equal(await page.getByRole('list', { name: 'Uploads' }).count(), 0);
  assert.equal(sent, 1);
  await page.unroute('**/settings');
  await api('/rag/collections/many', { method: 'DELETE' });
  page.check();
});
