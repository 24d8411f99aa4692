// A drawn picture, captioned and read.

import assert from 'node:assert/strict';
import { open, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  const page = await open(browser, 'vision');
  await page.locator('input[type=file]').setInputFiles('models/demo/samples/red_circle.png');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByRole('region', { name: 'Answer' }).getByText(/red circle/i).waitFor();

  await page.getByRole('tab', { name: 'Caption' }).click();
  await page.getByRole('button', { name: 'Caption', exact: true }).click();
  await page.getByRole('button', { name: 'Caption again' }).waitFor();
  const captions = await page.getByRole('tabpanel').innerText();
  assert.ok((captions.match(/red circle/gi) ?? []).length >= 3, captions);

  await page.getByRole('button', { name: 'Word', exact: true }).click();
  await page.getByRole('tab', { name: 'OCR' }).click();
  await page.getByRole('button', { name: 'Read text' }).click();
  await page.locator('pre.text').getByText(/\w/).waitFor();
  page.check();
});
