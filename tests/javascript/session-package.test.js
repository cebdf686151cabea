// What is shipped: small files, with the types that their comments say.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'

import { transformSync } from 'esbuild'

const HERE = fileURLToPath(new URL('.', import.meta.url))
const FILES = fileURLToPath(new URL('../../jwt_sessions/static/jwt_sessions/', import.meta.url))
const TSC = join(HERE, 'node_modules', 'typescript', 'bin', 'tsc')
const read = (name) => readFileSync(join(FILES, name), 'utf8')
const modules = readdirSync(FILES).filter((name) => name.endsWith('.js'))

/** Bytes of a module as it travels: minified and compressed. */
const size = (name) => gzipSync(transformSync(read(name), { minify: true, format: 'esm' }).code, { level: 9 }).length

function compile(...options) {
  try {
    execFileSync(process.execPath, [TSC, ...options], { cwd: HERE, encoding: 'utf8', timeout: 60_000 })
  } catch (error) {
    assert.fail(error.stdout)
  }
}

test('the module is at most 5 KB, each other file well under 1 KB', () => {
  assert.ok(modules.length >= 6)
  for (const name of modules) {
    const limit = name === 'session.js' ? 5120 : 512
    assert.ok(size(name) <= limit, `${name}: ${size(name)} bytes, at most ${limit}`)
  }
})

test('the types are those that tsc writes from the comments', () => {
  const folder = mkdtempSync(join(tmpdir(), 'types-'))
  try {
    compile('--project', 'types.json', '--outDir', folder)
    const written = readdirSync(folder).sort()
    assert.deepEqual(written, readdirSync(FILES).filter((name) => name.endsWith('.d.ts')).sort())
    for (const name of written) assert.equal(readFileSync(join(folder, name), 'utf8'), read(name), name)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('tsc finds nothing wrong, also not in what the page loads first', () => {
  compile('--project', 'types.json', '--noEmit')
  const options = ['--noEmit', '--allowJs', '--checkJs', '--strict', '--target', 'es2022', '--module', 'nodenext']
  compile(...options, '--ignoreConfig', '--lib', 'es2022,dom', '--types', '', join(FILES, 'start.js'))
})

test('every address of the package has its module and its types', () => {
  for (const { types, default: module } of Object.values(JSON.parse(read('package.json')).exports)) {
    assert.ok(read(types).includes('export'))
    assert.ok(read(module).includes('export'))
  }
})
