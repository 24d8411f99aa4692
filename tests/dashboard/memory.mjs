// An hour of live figures, sent as fast as the page takes them, leaves its memory as it was. And how large it is.

import assert from 'node:assert/strict';
import http from 'node:http';
import { gzipSync } from 'node:zlib';
import { open, SERVER, withBrowser } from './browser.mjs';

const HOUR = 3600;
/** Bytes on the wire. */
const SIZE_LIMIT = 180_000;

let clients = [];
const relay = http.createServer((request, response) => {
  if (request.url === '/analytics/live') {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    clients.push(response);
    return;
  }
  const options = { method: request.method, headers: request.headers };
  const upstream = http.request(SERVER + request.url, options, (reply) => {
    response.writeHead(reply.statusCode, reply.headers);
    reply.pipe(response);
  });
  upstream.on('error', () => response.destroy());
  request.pipe(upstream);
});
await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve));

function event(second) {
  const wave = 1 + Math.sin(second / 10);
  return {
    timestamp: new Date(second * 1000).toISOString(),
    requests_in_progress: second % 7, requests_waiting: 0, requests_per_second: wave, errors_per_second: 0,
    error_rate: 0, avg_response_time: wave, p50_response_time: wave, p95_response_time: wave,
    p99_response_time: wave, p50_time_to_first_token: wave, p95_time_to_first_token: wave,
    prompt_tokens_per_second: wave, completion_tokens_per_second: wave, cache_hit_rate: 0.5, alerts: [],
  };
}

await withBrowser(async (browser) => {
  const page = await open(browser, '', { server: `http://127.0.0.1:${relay.address().port}` });
  const devtools = await page.context().newCDPSession(page);
  const send = async (from, to) => {
    for (let second = from; second < to; second++) {
      clients.forEach((client) => client.write(`data: ${JSON.stringify(event(second))}\n\n`));
      // The page shows each.
      if (second % 5 === 0) await page.evaluate(() => new Promise((shown) => requestAnimationFrame(shown)));
    }
  };
  const used = async () => {
    await devtools.send('HeapProfiler.collectGarbage');
    return (await devtools.send('Runtime.getHeapUsage')).usedSize;
  };
  await page.getByText('Everything works').waitFor();
  await send(0, HOUR / 6);
  const before = await used();
  await send(HOUR / 6, HOUR + HOUR / 6);
  const grown = (await used()) - before;
  assert.ok(grown < 500_000, `an hour took ${grown} bytes`);
  page.check();

  // All files, by following what each names.
  const names = new Set(['index.html', 'icon.svg']);
  let size = 0;
  for (const name of names) {
    const reply = await fetch(`${SERVER}/dashboard/${name === 'index.html' ? '' : name}`);
    assert.equal(reply.status, 200, name);
    const bytes = Buffer.from(await reply.arrayBuffer());
    size += name.endsWith('.woff2') ? bytes.length : gzipSync(bytes, { level: 9 }).length;
    for (const [, found] of bytes.toString('latin1').matchAll(/([\w.-]+-[\w-]{8}\.(?:js|css|woff2))/g))
      names.add(`assets/${found}`);
  }
  assert.ok(names.size > 20 && size < SIZE_LIMIT, `${names.size} files have ${size} bytes`);
  console.log(`${names.size} files, ${size} bytes; an hour took ${grown} bytes`);
});
relay.closeAllConnections();
relay.close();
