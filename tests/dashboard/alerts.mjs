// An alert that appears when Ollama is not there, and goes when it is.

import http from 'node:http';
import { open, withBrowser } from './browser.mjs';

const ollama = http.createServer((request, response) => {
  const bodies = { '/api/version': { version: '0.12.0' }, '/api/tags': { models: [] }, '/api/ps': { models: [] } };
  const body = bodies[request.url.split('?')[0]] ?? {};
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});

await withBrowser(async (browser) => {
  // Without Ollama its models cannot be listed.
  const page = await open(browser, '', { expected: ['503'] });
  const alerts = page.getByRole('list', { name: 'Active alerts' });
  await alerts.getByText(/Ollama/).waitFor();
  await page.getByText('1 active alert').waitFor();
  await page.getByRole('status').filter({ hasText: /Ollama/ }).waitFor();
  ollama.listen(Number(process.env.OLLAMA_PORT), '127.0.0.1');
  await alerts.waitFor({ state: 'detached' });
  page.check();
});
ollama.closeAllConnections();
ollama.close();
