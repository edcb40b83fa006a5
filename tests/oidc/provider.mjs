// provider.mjs serve OPTIONS: an OpenID provider on loopback, until it is killed; its first line says where it is. After SIGUSR2 it stands
// to nothing that it gave before.
// provider.mjs sign-in URL NAME | deny URL: what a person does with a browser at the address of a device flow, page by page.
//
// OPTIONS is JSON: { port?, people: { NAME: CLAIMS }, secret?, ttl?, codeTtl? }. Whoever is among `people` may sign in, with any password. What
// the provider says of itself, its tokens and its pages are oidc-provider's own.

import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [command, ...args] = process.argv.slice(2);

async function serve(options) {
  const fetched = createRequire(new URL('../../target/oidc/package.json', import.meta.url));
  const { Provider } = await import(pathToFileURL(fetched.resolve('oidc-provider')));
  const server = createServer((request, response) => provider.callback()(request, response));
  await new Promise((ready) => server.listen(options.port ?? 0, '127.0.0.1', ready));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    clients: [{
      client_id: 'gate',
      client_secret: options.secret,
      token_endpoint_auth_method: options.secret ? 'client_secret_basic' : 'none',
      grant_types: ['urn:ietf:params:oauth:grant-type:device_code', 'refresh_token'],
      response_types: [],
      redirect_uris: [],
      scope: 'openid offline_access profile email groups',
    }],
    claims: {
      // and what AWS takes of an ID token, where somebody has it
      openid: ['sub', 'https://aws.amazon.com/source_identity', 'https://aws.amazon.com/tags'],
      profile: ['preferred_username'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
    },
    // into the ID token, and not only at another endpoint
    conformIdTokenClaims: false,
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    features: { deviceFlow: { enabled: true } },
    findAccount: (_, id) => (options.people[id]
      ? { accountId: id, claims: () => ({ sub: id, ...options.people[id] }) }
      : undefined),
    issueRefreshToken: (_, __, code) => code.scopes.has('offline_access'),
    ttl: { IdToken: options.ttl ?? 3600, DeviceCode: options.codeTtl ?? 600, RefreshToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
    cookies: { keys: ['of these tests'] },
  });
  // SIGUSR2: nothing that was given stands any more, as when an administrator signs everybody out
  const grants = new Set();
  provider.on('grant.success', (ctx) => grants.add(ctx.oidc.entities.Grant?.jti));
  process.on('SIGUSR2', () => grants.forEach((grant) => provider.Grant.adapter.destroy(grant)));
  console.log(issuer);
  // whoever has read that line reads no other: the package's own remarks would end this with EPIPE
  console.log = console.info = console.warn = console.error;
}

// a browser, as far as these pages need one: cookies, redirects and forms
class Browser {
  cookies = new Map();

  async request(url, form) {
    for (let hops = 0; hops < 20; hops += 1) {
      const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; ');
      const response = await fetch(url, {
        redirect: 'manual',
        method: form ? 'POST' : 'GET',
        headers: { cookie, ...(form && { 'content-type': 'application/x-www-form-urlencoded' }) },
        body: form && new URLSearchParams(form).toString(),
      });
      for (const line of response.headers.getSetCookie()) {
        const [pair] = line.split(';');
        const [name, ...value] = pair.split('=');
        if (/expires=Thu, 01 Jan 1970/i.test(line)) this.cookies.delete(name);
        else this.cookies.set(name, value.join('='));
      }
      const location = response.headers.get('location');
      if (!location) return { url, status: response.status, text: await response.text() };
      url = new URL(location, url).href;
      form = undefined;
    }
    throw new Error('the pages lead round in circles');
  }

  // the form of a page, with what is in it already
  form(page) {
    const [, attributes, inside] = page.text.match(/<form([^>]*)>([\s\S]*?)<\/form>/i) ?? [];
    if (!attributes) return undefined;
    const action = attributes.match(/action="([^"]*)"/)?.[1] ?? page.url;
    const fields = {};
    for (const [input] of inside.matchAll(/<input[^>]*>/gi)) {
      const name = input.match(/name="([^"]*)"/)?.[1];
      if (name) fields[name] = input.match(/value="([^"]*)"/)?.[1] ?? '';
    }
    return { action: new URL(action.replaceAll('&amp;', '&'), page.url).href, fields };
  }
}

async function walk(url, name) {
  const browser = new Browser();
  let page = await browser.request(url);
  for (let steps = 0; steps < 10; steps += 1) {
    const form = browser.form(page);
    if (!form || page.status >= 400) break;
    if ('confirm' in form.fields || /device_confirm|deviceConfirm/i.test(page.text)) {
      if (name === undefined) form.fields = { ...form.fields, confirm: undefined, abort: 'yes' };
      else form.fields.confirm = 'yes';
    }
    if ('login' in form.fields) Object.assign(form.fields, { login: name, password: 'any' });
    const filled = Object.fromEntries(Object.entries(form.fields).filter(([, value]) => value !== undefined));
    page = await browser.request(form.action, filled);
  }
  const title = page.text.match(/<title>([^<]*)/i)?.[1] ?? '';
  console.log(`${page.status} ${title}`);
}

if (command === 'serve') await serve(JSON.parse(args[0]));
else if (command === 'sign-in') await walk(args[0], args[1]);
else if (command === 'deny') await walk(args[0]);
else throw new Error(`${command} is no command of this`);
