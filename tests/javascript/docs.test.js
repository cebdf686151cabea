// The examples of the documentation are compiled by what their readers compile them with.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'

import { transformSync } from 'esbuild'
import { compile } from 'svelte/compiler'
import { compileScript, compileTemplate, parse } from 'vue/compiler-sfc'

const ROOT = new URL('../../', import.meta.url)
const PACKAGE = new URL('jwt_sessions/static/jwt_sessions/', ROOT)
const PAGES = ['README.md', ...readdirSync(new URL('docs/', ROOT)).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
const BLOCKS = PAGES.flatMap((page) => {
  const text = readFileSync(new URL(page, ROOT), 'utf8')
  return [...text.matchAll(/^```(\w+)\n(.*?)^```/gms)].map(([, language, code]) => ({ page, language, code }))
})
const blocks = (language) => BLOCKS.filter((block) => block.language === language)

test('JavaScript is a module without mistakes', () => {
  assert.ok(blocks('javascript').length > 10)
  for (const { page, code } of blocks('javascript')) {
    const { warnings } = transformSync(code, { loader: 'js', format: 'esm', target: 'es2022', sourcefile: page })
    assert.deepEqual(warnings, [])
  }
})

test('React is compiled', () => {
  assert.equal(blocks('jsx').length, 1)
  for (const { page, code } of blocks('jsx')) transformSync(code, { loader: 'jsx', format: 'esm', sourcefile: page })
})

test('Vue is compiled', () => {
  assert.equal(blocks('vue').length, 1)
  for (const { page, code } of blocks('vue')) {
    const { descriptor, errors } = parse(code, { filename: page })
    const { bindings } = compileScript(descriptor, { id: 'example' })
    const template = compileTemplate({ id: 'example', filename: page, source: descriptor.template.content })
    assert.deepEqual([errors, template.errors], [[], []])
    assert.ok('snapshot' in bindings)
  }
})

test('Svelte is compiled', () => {
  assert.equal(blocks('svelte').length, 1)
  for (const { code } of blocks('svelte')) assert.deepEqual(compile(code, {}).warnings, [])
})

test('what examples import from the package is there', async () => {
  const { exports } = JSON.parse(readFileSync(new URL('package.json', PACKAGE), 'utf8'))
  const imports = BLOCKS.flatMap(({ code }) => [
    ...code.matchAll(/import \{ (\w+) \} from 'django-jwt-sessions(\/\w+)?'/g),
  ])
  assert.deepEqual(new Set(imports.map(([, , path = '']) => `.${path}`)), new Set(Object.keys(exports)))
  for (const [, name, path = ''] of imports) {
    const module = await import(new URL(exports[`.${path}`].default, PACKAGE))
    assert.equal(typeof module[name], 'function', name)
  }
})
