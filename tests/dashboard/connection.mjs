// A server that goes away and comes back: the page says so, and goes on by itself. Between the two is a relay that is
// closed and opened again.

import assert from 'node:assert/strict';
import net from 'node:net';
import { open, SERVER, withBrowser } from './browser.mjs';

const { hostname, port } = new URL(SERVER);

function relay(at) {
  const sockets = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    client.pipe(upstream).pipe(client);
  });
  server.listen(at, '127.0.0.1');
  return new Promise((resolve) => {
    server.on('listening', () =>
      resolve({
        port: server.address().port,
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
  await between.close();
  await page.getByText('The connection to the server is lost.').waitFor();
  await page.getByText('Disconnected', { exact: true }).waitFor();
  await page.getByText('The server does not answer', { exact: true }).waitFor();
  between = await relay(between.port);
  await page.getByText('Connected again.').waitFor();
  await page.getByText('Everything works').waitFor();
  assert.equal(await page.getByText('The connection to the server is lost.').count(), 0);
  page.check();
});
await between.close();
