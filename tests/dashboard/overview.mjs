// Figures that equal the load that was sent, and none that were read for another choice.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { api, eventually, open, withBrowser } from './browser.mjs';

/** Texts of a row's cells. */
async function cellsOf(page, text) {
  const row = page.getByRole('row').filter({ hasText: text });
  await row.waitFor();
  return row.getByRole('cell').allInnerTexts();
}

const REQUESTS = 7;
const REFUSED = 2;

await withBrowser(async (browser) => {
  for (let at = 0; at < REQUESTS; at++)
    assert.equal((await api('/embeddings/', { body: { input: `text ${at % 3}` } })).status, 200);
  for (let at = 0; at < REFUSED; at++)
    assert.equal((await api('/embeddings/', { body: { input: 5 } })).status, 422);
  const all = REQUESTS + REFUSED;
  assert.equal((await api('/no/such/route', { body: {} })).status, 404);

  const page = await open(browser, 'endpoints', { expected: ['net::ERR_FAILED'] });
  const cells = await cellsOf(page, '/embeddings');
  assert.equal(cells[2], String(all));
  assert.match(cells[3], new RegExp(`^${REFUSED}\\b`));
  assert.equal((await cellsOf(page, 'unmatched'))[2], '1');

  await page.getByRole('link', { name: 'Usage' }).click();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
  await page.getByText('Endpoint', { exact: true }).click();
  assert.equal((await cellsOf(page, '/embeddings'))[2], String(all));
  const download = page.waitForEvent('download');
  await page.getByRole('button', { name: 'CSV' }).click();
  const csv = readFileSync(await (await download).path(), 'utf8');
  assert.match(csv, new RegExp(`POST /embeddings/,${all},${REFUSED},`));
  await page.route('**/analytics/usage?by=model*', (route) => route.abort());
  await page.getByText('Model', { exact: true }).click();
  await page.getByText('The server does not answer').waitFor();
  assert.equal(await page.getByRole('row').count(), 0);
  assert.ok(await page.getByRole('button', { name: 'CSV' }).isDisabled());

  await page.getByRole('link', { name: 'Errors' }).click();
  const refused = page.getByRole('cell', { name: '422', exact: true });
  await refused.first().waitFor();
  assert.equal(await refused.count(), REFUSED);
  await page.getByLabel('Filter errors').fill('nothing like this');
  await page.getByText('Nothing matches').waitFor();

  await page.getByRole('link', { name: 'Cache' }).click();
  assert.equal((await cellsOf(page, 'Embeddings'))[1], '3');
  await page.getByRole('button', { name: 'Clear Embeddings' }).click();
  await page.getByRole('dialog').getByText('3 entries will be removed').waitFor();
  await page.route('**/analytics/cache?prefix=*', (route) => route.abort(), { times: 1 });
  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.getByRole('dialog').getByText('The server does not answer').waitFor();
  await page.keyboard.press('Escape');
  assert.equal((await (await api('/analytics/cache')).json()).cache.total_keys, 3);
  await page.getByRole('button', { name: 'Clear Embeddings' }).click();
  // Selecting text beyond the dialog does not close it, and nothing does while it is busy.
  const { x, y } = await page.getByRole('dialog').boundingBox();
  await page.getByRole('dialog').getByText('3 entries').hover();
  await page.mouse.down();
  await page.mouse.move(x - 9, y);
  await page.mouse.up();
  let release;
  const held = new Promise((resolve) => (release = resolve));
  await page.route('**/analytics/cache*', async (route) => {
    if (route.request().method() === 'DELETE') await held;
    await route.continue();
  });
  await page.getByRole('button', { name: 'Clear', exact: true }).click();
  await page.keyboard.press('Escape');
  await page.keyboard.press('Escape');
  await page.mouse.click(x - 9, y);
  assert.ok(await page.getByRole('dialog').isVisible());
  release();
  await page.getByText('3 entries removed.').waitFor();
  assert.equal((await (await api('/analytics/cache')).json()).cache.total_keys, 0);

  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByText('Everything works').waitFor();
  // The live figures follow the load.
  const rate = page.locator('dt', { hasText: 'Requests per second' }).locator('xpath=following-sibling::dd[1]');
  await eventually('the rate shows the load', async () => {
    await api('/embeddings/', { body: { input: 'again' } });
    return Number(await rate.innerText()) > 0;
  });
  await eventually('the verdict shows the refused', async () => {
    await api('/embeddings/', { body: { input: 5 } });
    return page.getByText('Some requests fail').isVisible();
  });
  await page.locator('dt').getByRole('link', { name: 'Errors' }).click();
  await page.getByRole('heading', { name: 'Errors' }).waitFor();
  await page.getByRole('link', { name: 'Overview' }).click();

  // Charts show rates of what has passed of the last step, unless that is too little, and say that they fail.
  const end = Date.now();
  const at = (minutes) => new Date(end - minutes * 60_000).toISOString();
  const points = [{ timestamp: at(15), value: 120 }, { timestamp: at(3), value: 30 }];
  await page.route('**/analytics/series*', (route) => {
    const metric = new URL(route.request().url()).searchParams.get('metric');
    return route.fulfill({ json: { status: 'success', metric, period: { to: at(0) }, step: 12, points } });
  });
  const chart = page.getByRole('img', { name: /^Requests per minute/ });
  const shows = (summary) =>
    eventually(summary, async () => (await chart.getAttribute('aria-label')).includes(`Requests: ${summary}`));
  await page.getByText('24h', { exact: true }).click();
  await shows('10 now, 10 maximum');
  points.push({ timestamp: at(0.1), value: 1 });
  points[1].value = 90;
  await page.getByText('7d', { exact: true }).click();
  await shows('30 now, 30 maximum');
  await page.route('**/analytics/series*', (route) => route.abort());
  await page.getByText('15m', { exact: true }).click();
  await page.getByText('The server does not answer').waitFor();
  await shows('– now, – maximum');
  page.check();
});
