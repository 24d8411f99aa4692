// A drawn image, captioned and read. And a file that is read slowly, which does not replace a later one.

import assert from 'node:assert/strict';
import { open, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  const page = await open(browser, 'vision');
  await page.locator('input[type=file]').setInputFiles('models/demo/samples/red_circle.png');
  await page.getByRole('button', { name: 'Ask' }).click();
  await page.getByRole('region', { name: 'Answer' }).getByText(/red circle/i).waitFor();

  await page.getByRole('tab', { name: 'Caption' }).click();
  await page.getByRole('button', { name: 'Write captions' }).click();
  await page.getByRole('button', { name: 'Write again' }).waitFor();
  const captions = await page.getByRole('tabpanel').innerText();
  assert.ok((captions.match(/red circle/gi) ?? []).length >= 3, captions);

  await page.getByRole('button', { name: 'Word', exact: true }).click();
  await page.getByRole('tab', { name: 'OCR' }).click();
  await page.getByRole('button', { name: 'Read text' }).click();
  await page.locator('pre.text').getByText(/\w/).waitFor();

  await page.getByRole('button', { name: 'Read text' }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Read text' }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Read text');

  // One button asks and stops, and keeps the focus.
  let asked = 0;
  await page.route('**/vision/analyze', () => asked++);
  await page.getByRole('tab', { name: 'Analyze' }).click();
  await page.getByRole('button', { name: 'Ask', exact: true }).focus();
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Stop' }).waitFor();
  await page.keyboard.press('Enter');
  await page.getByRole('region', { name: 'Answer' }).getByText('Stopped').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent.trim()), 'Ask');
  assert.equal(asked, 1);

  await page.evaluate(() => {
    const { decode } = Image.prototype;
    Image.prototype.decode = async function () {
      await new Promise((resolve) => (globalThis.goOn = resolve));
      Image.prototype.decode = decode;
      setTimeout(() => (globalThis.decoded = true));
    };
  });
  await page.locator('input[type=file]').setInputFiles('models/demo/samples/red_circle.png');
  await page.waitForFunction(() => globalThis.goOn);
  await page.getByRole('button', { name: 'Blue square', exact: true }).click();
  await page.evaluate(() => globalThis.goOn());
  await page.waitForFunction(() => globalThis.decoded);
  await page.getByRole('img', { name: 'The chosen file, Blue square.png' }).waitFor();
  page.check();
});
