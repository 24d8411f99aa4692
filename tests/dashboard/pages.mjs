// Every page in the colors of COLORS, on a desktop and a phone: no serious fault of accessibility, nothing wider than the screen.
// SCREENSHOTS=folder keeps screenshots of them.

import assert from 'node:assert/strict';
import { accessibilityFaults, api, open, withBrowser } from './browser.mjs';

const PAGES = [
  '', 'endpoints', 'errors', 'usage', 'cache', 'chat', 'vision', 'embeddings', 'documents', 'models', 'settings',
];
const { COLORS, SCREENSHOTS } = process.env;

await withBrowser(async (browser) => {
  await api('/embeddings/', { body: { input: 'a text' } });
  await api('/inference/chat', { body: { messages: [] } });
  for (const [width, height] of [[1440, 900], [375, 812]]) {
    const page = await open(browser, '', { colorScheme: COLORS, viewport: { width, height } });
    for (const path of PAGES) {
      await page.goto(page.url().replace(/dashboard\/.*/, `dashboard/${path}`));
      await page.locator('main h1').waitFor();
      await page.locator('.skeleton').first().waitFor({ state: 'detached' });
      const name = `${path || 'overview'}-${width}-${COLORS}`;
      if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });
      assert.deepEqual(await accessibilityFaults(page), [], name);
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      assert.ok(wider <= 0, `${name} is ${wider} px wider than the screen`);
    }
    page.check();
    await page.context().close();
  }
});
