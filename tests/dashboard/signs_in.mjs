// Signing in: with a wrong key, with the right one, and out again.

import assert from 'node:assert/strict';
import { KEY, open, SERVER, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  // Browsers are sent to the dashboard, other clients get the JSON.
  const page = await open(browser, '', { key: null, expected: ['401'] });
  await page.goto(SERVER);
  assert.equal(new URL(page.url()).pathname.replace(/\/$/, ''), '/dashboard');
  const plain = await fetch(SERVER);
  assert.equal((await plain.json()).docs, '/docs');

  // The second one has a character that no header can carry, and the third is too long for one.
  for (const wrong of ['not-the-key-0123456789', `${KEY}…`, 'a'.repeat(100_000)]) {
    await page.getByLabel('API key').fill(wrong);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('alert').getByText('This API key is not valid.').waitFor();
  }

  await page.getByLabel('API key').fill(KEY);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  await page.getByText('Live', { exact: true }).waitFor();
  assert.ok(!page.url().includes(KEY));
  // The key is this tab's alone.
  assert.equal(await page.evaluate(() => localStorage.getItem('simpleton.key')), null);

  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key').waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.getItem('simpleton.key')), null);

  // The address that the server prints, in a tab that is open. A used one says what to do.
  await page.route('**/dashboard/session', (route) => route.fulfill({ json: { key: KEY, expires_at: '2100-01-01T00:00:00Z' } }));
  await page.goto(`${SERVER}/dashboard#token=0123`);
  await page.getByRole('heading', { name: 'Overview' }).waitFor();
  assert.ok(!page.url().includes('0123'));
  await page.unroute('**/dashboard/session');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByLabel('API key').waitFor();
  await page.goto(`${SERVER}/dashboard#token=0123`);
  await page.getByText('This sign-in address is not valid').waitFor();
  page.check();
});
