// A model that is pulled from a registry on this machine, loaded, unloaded and deleted. The page itself does not count as
// use of the API.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { api, eventually, KEY, open, withBrowser } from './browser.mjs';

const weights = readFileSync('models/demo/simpleton-demo.gguf');
const config = Buffer.from('{"model_format":"gguf"}');
const digest = (bytes) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const blobs = new Map([weights, config].map((bytes) => [digest(bytes), bytes]));
const layer = (bytes, mediaType) => ({ mediaType, digest: digest(bytes), size: bytes.length });
const manifest = {
  schemaVersion: 2,
  mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
  config: layer(config, 'application/vnd.docker.container.image.v1+json'),
  layers: [layer(weights, 'application/vnd.ollama.image.model')],
};

// The second half of the weights waits until the page has shown the first.
let release;
const shown = new Promise((resolve) => (release = resolve));

const registry = http.createServer(async (request, response) => {
  if (request.url.endsWith('/manifests/latest')) {
    response.writeHead(200, { 'content-type': manifest.mediaType }).end(JSON.stringify(manifest));
    return;
  }
  const bytes = blobs.get(request.url.split('/blobs/')[1]);
  if (!bytes) return response.writeHead(404).end();
  const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
  const [start, end] = [Number(from ?? 0), to ? Number(to) + 1 : bytes.length];
  const headers = { 'content-length': end - start, 'content-range': `bytes ${start}-${end - 1}/${bytes.length}` };
  response.writeHead(from === undefined ? 200 : 206, headers);
  if (request.method === 'HEAD') return response.end();
  const middle = Math.floor((start + end) / 2);
  response.write(bytes.subarray(start, middle));
  if (bytes === weights) await shown;
  response.end(bytes.subarray(middle, end));
});
await new Promise((resolve) => registry.listen(Number(process.env.REGISTRY_PORT), '127.0.0.1', resolve));

await withBrowser(async (browser) => {
  const page = await open(browser, 'models', { expected: ['503'] });
  await page.getByLabel('Model', { exact: true }).fill('small');
  await page.keyboard.press('Enter');
  const progress = page.getByRole('progressbar', { name: 'Download of small' });
  await page.waitForFunction(
    (bar) => Number(bar.getAttribute('aria-valuenow')) > 10,
    await progress.elementHandle(),
  );
  release();
  await page.getByText('small is installed.').waitFor();
  const row = page.getByRole('row').filter({ hasText: 'small' });
  await row.getByText('Not loaded').waitFor();
  await row.getByRole('button', { name: 'Load small' }).click();
  await row.getByRole('button', { name: 'Unload small' }).click();
  await row.getByText('Not loaded').waitFor();

  // Two models at once: each is busy until its own request ends, and its failure stays.
  const held = new Map();
  await page.route('**/models/*/load', (route) => held.set(/([^/]+)\/load$/.exec(route.request().url())[1], route));
  const buttons = ['small', 'qwen2.5-coder'].map((name) => page.getByRole('button', { name: new RegExp(`^Load ${name}`) }));
  for (const button of buttons) await button.click();
  await eventually('both are asked for', () => held.size === 2);
  for (const button of buttons) assert.equal(await button.getAttribute('aria-busy'), 'true');
  const [one, other] = [...held.values()];
  await one.fulfill({ status: 503, json: { detail: 'There is no room for it.' } });
  await page.getByText('small: There is no room for it.').waitFor();
  assert.equal(await buttons[1].getAttribute('aria-busy'), 'true');
  await other.fulfill({ json: {} });
  await page.waitForFunction((button) => button.ariaBusy === 'false', await buttons[1].elementHandle());
  await page.getByText('small: There is no room for it.').waitFor();
  await page.getByRole('button', { name: 'Dismiss' }).first().click();

  // Only what counts as no use of the API is read at intervals.
  let lists = 0;
  page.on('request', (request) => (lists += Number(new URL(request.url()).pathname === '/models')));
  for (let polls = 0; polls < 2; polls++) await page.waitForResponse('**/models/loaded');
  assert.equal(lists, 0);

  await row.getByRole('button', { name: /^small/ }).click();
  await page.getByRole('dialog').getByText('Digest').waitFor();
  await page.getByRole('button', { name: 'Close', exact: true }).click();
  await row.getByRole('button', { name: 'Delete small' }).click();
  await page.getByRole('dialog').getByText('Its files are removed').waitFor();
  await page.getByRole('button', { name: 'Delete', exact: true }).click();
  await row.waitFor({ state: 'detached' });
  const names = (await (await api('/models')).json()).models.map((model) => model.name);
  assert.ok(!names.some((name) => name.startsWith('small')));

  // Two downloads at a time, and none after the session.
  const requested = [];
  const aborted = [];
  await page.route('**/models/pull', (route) => void requested.push(route.request().postDataJSON().model));
  page.on('requestfailed', (request) => request.url().endsWith('/models/pull') && aborted.push(request.postDataJSON().model));
  for (const name of ['first', 'second', 'third', 'fourth']) {
    await page.getByLabel('Model', { exact: true }).fill(name);
    await page.keyboard.press('Enter');
  }
  await eventually('two are requested', () => requested.length === 2);
  assert.equal(await page.getByText('waiting', { exact: true }).count(), 2);
  await page.getByRole('button', { name: 'Stop the download of first' }).click();
  await eventually('the third is requested', () => requested.includes('third'));
  await page.getByRole('button', { name: 'Sign out' }).click();
  await eventually('all are stopped', () => aborted.length === 3);
  await page.getByLabel('API key').fill(KEY);
  await page.keyboard.press('Enter');
  await page.getByText('Installed', { exact: true }).waitFor();
  assert.equal(await page.getByRole('list', { name: 'Downloads' }).count(), 0);
  assert.deepEqual(requested, ['first', 'second', 'third']);
  page.check();
});
registry.closeAllConnections();
registry.close();
