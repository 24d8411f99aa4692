// Errors with and without the requests that had no valid key, also if clients repeat their request ids.

import assert from 'node:assert/strict';
import { api, open, withBrowser } from './browser.mjs';

await withBrowser(async (browser) => {
  assert.equal((await api('/embeddings/', { body: { input: 5 } })).status, 422);
  assert.equal((await api('/models', { headers: { 'x-api-key': 'no-such-key' } })).status, 401);

  const page = await open(browser, 'errors');
  const rows = (status) => page.getByRole('row').filter({ hasText: status });
  const box = page.getByLabel('Include requests without a valid key');
  await rows('422').first().waitFor();
  assert.equal(await rows('401').count(), 0);
  await box.check();
  await rows('401').first().waitFor();
  await box.uncheck();
  await rows('422').first().waitFor();
  assert.equal(await rows('401').count(), 0);

  // A long path breaks, and leaves the error in sight.
  assert.equal((await api(`/${'a'.repeat(300)}`)).status, 404);
  await page.reload();
  const error = await rows('aaaa').first().getByRole('cell').nth(3).boundingBox();
  assert.ok(error.x + error.width < page.viewportSize().width, JSON.stringify(error));

  // Two requests with one id at one time.
  const shown = await rows('422').count();
  await page.route('**/analytics/errors*', async (route) => {
    const response = await route.fetch();
    const { errors } = await response.json();
    return route.fulfill({ response, json: { errors: [...errors, ...errors] } });
  });
  await page.reload();
  await rows('422').nth(2 * shown - 1).waitFor();
  page.check();
});
