// npm's ssh2, driven for scripts/clients: HOST PORT USER KEY WHAT ARGUMENTS… (see scripts/clients/client.py for what each WHAT is).
// NODE_PATH says where it is installed.
'use strict';

const fs = require('fs');
const { promisify } = require('util');
const { Client } = require('ssh2');

const [host, port, username, keyFile, what, ...args] = process.argv.slice(2);
const privateKey = fs.readFileSync(keyFile);

function connect(options, code) {
  return new Promise((resolve, reject) => {
    const client = new Client();
    client.on('ready', () => resolve(client)).on('error', reject);
    client.on('keyboard-interactive', (name, instructions, language, prompts, finish) => finish(prompts.map(() => code)));
    client.connect({ username, privateKey, readyTimeout: 60000, tryKeyboard: code !== undefined, ...options });
  });
}

// Standard input to the channel and back, both streams apart, to its end.
function relay(stream) {
  return new Promise((resolve, reject) => {
    let status = 0;
    process.stdin.pipe(stream);
    stream.pipe(process.stdout, { end: false });
    if (stream.stderr) stream.stderr.pipe(process.stderr, { end: false });
    stream.on('exit', (code) => { status = code === null ? 255 : code; });
    stream.on('close', () => { process.stdin.unpipe(stream); process.stdin.destroy(); resolve(status); });
    stream.on('error', reject);
  });
}

const exec = async (client, command) => relay(await promisify(client.exec.bind(client))(command));

const shell = async (client) =>
  relay(await promisify(client.shell.bind(client))({ term: 'xterm', cols: 132, rows: 43 }));

async function sftp(client, local, there, back) {
  const files = await promisify(client.sftp.bind(client))();
  const call = (name, ...rest) => promisify(files[name].bind(files))(...rest);
  const expect = (holds, said) => { if (!holds) throw new Error(`unexpected: ${said}`); };
  await call('mkdir', there);
  await call('fastPut', local, `${there}/file`);
  await call('rename', `${there}/file`, `${there}/moved`);
  await call('symlink', 'moved', `${there}/link`);
  await call('chmod', `${there}/moved`, 0o600);
  const target = await call('readlink', `${there}/link`);
  expect(target === 'moved', target);
  const names = (await call('readdir', there)).map((entry) => entry.filename).sort().join(' ');
  expect(names === 'link moved', names);
  const { size } = await call('stat', `${there}/moved`);
  expect(size === fs.statSync(local).size, size);
  await call('fastGet', `${there}/moved`, back);
  return 0;
}

async function many(client, count) {
  const one = async (number) => {
    const stream = await promisify(client.exec.bind(client))(`sleep 0.2; echo ${number}; exit ${number % 7}`);
    let said = '', status;
    stream.on('data', (data) => { said += data; }).on('exit', (code) => { status = code; });
    await new Promise((resolve) => stream.on('close', resolve));
    return `${said.trim()} ${status}`;
  };
  console.log((await Promise.all([...Array(Number(count)).keys()].map(one))).join('\n'));
  return 0;
}

const through = (client, to, at) => promisify(client.forwardOut.bind(client))('127.0.0.1', 0, to, Number(at));

async function hop(client, node, user, command) {
  const inner = await connect({ sock: await through(client, node, 22), username: user });
  const status = await exec(inner, command);
  inner.end();
  return status;
}

async function main() {
  const code = what === 'coded' ? args.shift() : undefined;
  const client = await connect({ host, port: Number(port) }, code);
  const forward = async (_, to, at) => relay(await through(client, to, at));
  const status = await { exec, coded: exec, shell, sftp, many, forward, hop }[what](client, ...args);
  client.end();
  process.exitCode = status;
}

main().catch((error) => { console.error(String(error)); process.exit(255); });
