// A server that goes away and comes back: the page says so, and goes on by itself. Between the two is a relay that is
// closed and opened again, while a page is opened. Then a stream that falls silent, a tab that nobody sees, live figures that are refused, and a page that fails.

import assert from 'node:assert/strict';
import net from 'node:net';
import { open, SERVER, withBrowser } from './browser.mjs';

const { hostname, port } = new URL(SERVER);

function relay(at) {
  const sockets = new Set();
  let stream;
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    client.on('data', (data) => data.includes('/analytics/live') && (stream = upstream));
    client.pipe(upstream).pipe(client);
  });
  server.listen(at, '127.0.0.1');
  return new Promise((resolve) => {
    server.on('listening', () =>
      resolve({
        port: server.address().port,
        /** Holds back the live figures without an end of the connection. */
        stall: () => stream.unpipe(),
        close: () => {
          sockets.forEach((socket) => socket.destroy());
          return new Promise((closed) => server.close(closed));
        },
      }),
    );
  });
}

let between = await relay(0);
await withBrowser(async (browser) => {
  const server = `http://127.0.0.1:${between.port}`;
  const page = await open(browser, '', { server, expected: ['ERR_', 'net::'] });
  await page.getByText('Live', { exact: true }).waitFor();
  await page.waitForFunction(() => {
    const loaded = performance.getEntriesByType('resource').map(({ name }) => name);
    return ['Usage-', 'Settings-'].every((chunk) => loaded.some((name) => name.includes(chunk)));
  });
  await between.close();
  await page.getByText('The connection to the server is lost.').waitFor();
  await page.getByText('Disconnected', { exact: true }).waitFor();
  await page.getByText('before the connection was lost').waitFor();
  const rate = page.locator('dt', { hasText: 'Requests per second' }).locator('xpath=following-sibling::dd[1]');
  assert.match(await rate.innerText(), /\d/);
  await page.getByText('The server does not answer', { exact: true }).waitFor();
  await page.getByRole('link', { name: 'Usage' }).click();
  await page.getByRole('heading', { name: 'Usage', exact: true }).waitFor();
  await page.getByRole('link', { name: 'Overview' }).click();
  between = await relay(between.port);
  await page.getByText('Connected again.').waitFor();
  await page.getByText('Everything works').waitFor();
  assert.equal(await page.getByText('The connection to the server is lost.').count(), 0);
  await page.getByText('Connected again.').waitFor({ state: 'detached' });

  between.stall();
  await page.getByText('The connection to the server is lost.').waitFor();
  await page.getByText('Connected again.').waitFor();

  // Nobody sees the tab.
  const seen = (state) =>
    page.evaluate((state) => {
      Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }, state);
  const closed = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/analytics/live'));
  await seen('hidden');
  await closed;
  await seen('visible');
  await page.getByText('Live', { exact: true }).waitFor();
  page.check();
  await page.context().close();
});
await between.close();

await withBrowser(async (browser) => {
  const page = await open(browser, 'models', { expected: ['429', 'TypeError'] });
  await page.route('**/analytics/live', (route) => route.fulfill({ status: 429, json: { detail: 'Too many streams.' } }));
  await page.reload();
  await page.getByText('Too many streams.').waitFor();
  // Only the figures are missing.
  await page.waitForResponse('**/models/loaded');
  await page.unroute('**/analytics/live');
  await page.getByText('Live', { exact: true }).waitFor();

  await page.route('**/health', (route) => route.fulfill({ json: {} }));
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByText('This page failed.').waitFor();
  await page.getByRole('link', { name: 'Cache' }).click();
  await page.getByRole('heading', { name: 'Cache', exact: true }).waitFor();
  await page.getByRole('link', { name: 'Overview' }).click();
  await page.getByText('This page failed.').waitFor();
  await page.unroute('**/health');
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('Everything works').waitFor();
  page.check();
  await page.context().close();

  const offline = await open(browser, 'settings', { expected: ['net::'] });
  await offline.getByText('Live', { exact: true }).waitFor();
  await offline.route('**/assets/Settings-*', (route) => route.abort());
  await offline.reload();
  await offline.getByText('This page could not be loaded.').waitFor();
  await offline.unroute('**/assets/Settings-*');
  await offline.getByRole('button', { name: 'Reload' }).click();
  await offline.getByRole('heading', { name: 'Settings', exact: true }).waitFor();
  offline.check();
});
