// A file that is added with its progress, found again, and asked; a source is highlighted in its text.

import assert from 'node:assert/strict';
import { api, open, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  const page = await open(browser, 'documents', { expected: ['404'] });
  const content = Buffer.from(
    '# Lighthouses\n\n😀 The lighthouse of Sandhavn was built in 1887.\n\n## Keepers\n\nIts keeper is Marit Olsen.\n',
  );
  await page.locator('input[type=file]').setInputFiles({ name: 'lighthouses.md', mimeType: 'text/markdown', buffer: content });
  await page.getByRole('button', { name: 'Delete lighthouses', exact: false }).waitFor();

  await page.getByLabel('Question about the documents').fill('When was the lighthouse of Sandhavn built?');
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
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await page.getByRole('button', { name: 'Delete lighthouses', exact: false }).waitFor({ state: 'detached' });
  const { documents } = await (await api('/rag/documents')).json();
  assert.deepEqual(documents ?? [], []);
  page.check();
});
