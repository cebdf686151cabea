// The devices page in a browser: by keyboard and without scripts, and looked at by axe.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'

import { chromium } from 'playwright-core'

import { ARGUMENTS, served } from './chromium.js'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const LIST = `${served.origin}/devices/`
const WIDTHS = [400, 800, 1000, 1280, 1600]
const AXE_WIDTHS = [400, 1280]
const CHROME = 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36'
const pictures = served.pictures

/** The page in a browser of its own, which is signed in by a cookie: now, or long ago where there is one of then. */
async function open(test, { user = 0, old, ...options } = {}) {
  const browser = await chromium.launch({ executablePath: served.chromium, args: ARGUMENTS })
  test.after(() => browser.close())
  const context = await browser.newContext({ ignoreHTTPSErrors: true, userAgent: CHROME, ...options })
  if (old) {
    await context.addCookies([{ ...old, url: served.origin, secure: true, httpOnly: true, sameSite: 'Strict' }])
  } else {
    const data = { email: served.users[user], password: served.password, delivery: 'cookie' }
    const answer = await context.request.post(`${served.origin}/auth/login/`, { data })
    assert.equal(answer.status(), 200)
  }
  const page = await context.newPage()
  const refused = []
  page.on('console', (message) => message.text().includes('Content Security Policy') && refused.push(message.text()))
  await page.goto(LIST)
  return { context, page, refused }
}

/** What axe finds wrong with a page, of any impact. */
async function complaints(page) {
  await page.evaluate(AXE)
  const { violations, passes } = await page.evaluate(() => axe.run())
  assert.ok(passes.length > 10, `axe has looked at ${passes.length} things only`)
  return violations.map(({ id, impact, nodes }) => `${id} (${impact}): ${nodes.map(({ html }) => html).join(' ')}`)
}

const status = (page) => page.getByRole('status').innerText()

for (const colorScheme of ['light', 'dark'])
  test(`axe finds nothing, and nothing is cut off from 400 to 1600 px, ${colorScheme}`, async (test) => {
    const { page } = await open(test, { colorScheme, old: served.old[0] })
    const look = async (name) => {
      for (const width of WIDTHS) {
        await page.setViewportSize({ width, height: 800 })
        const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
        assert.ok(overflow <= 0, `${name} is ${overflow} px too wide at ${width} px`)
        if (AXE_WIDTHS.includes(width)) assert.deepEqual(await complaints(page), [], `${name} at ${width} px`)
        if (pictures) await page.screenshot({ path: `${pictures}/${name}-${width}-${colorScheme}.png`, fullPage: width > 400 })
      }
    }
    await look('list')
    await page.locator('summary').first().click()
    await look('rename')
    await page.getByRole('link', { name: 'Sign out all other devices' }).click()
    await look('confirm')
    assert.ok(await page.getByLabel('Your password').isVisible())
    await page.context().clearCookies()
    await page.goto(LIST)
    await look('signed-out')
  })

test('the table is one for screen readers, also where it is shown as cards', async (test) => {
  const { page } = await open(test, { user: 3 })
  for (const width of AXE_WIDTHS) {
    await page.setViewportSize({ width, height: 800 })
    const rows = page.getByRole('table', { name: 'Your devices' }).getByRole('row')
    assert.equal(await rows.count(), served.devices + 1 + 2)
    assert.equal(await page.getByRole('columnheader').count(), 6)
    assert.match(await rows.nth(1).getByRole('rowheader').innerText(), /This device/)
    assert.equal(await rows.nth(1).getByRole('cell').count(), 5)
  }
})

test('by keyboard and without scripts a device is renamed and signed out, and the result has the focus', async (test) => {
  const { page, refused } = await open(test, { user: 1, javaScriptEnabled: false })
  const name = 'Kitchen <b>tablet</b>'
  await page.getByText('Rename Chrome on Windows').press('Enter')
  const input = page.getByRole('textbox', { name: 'Name Chrome on Windows' })
  await input.fill(name)
  await input.press('Enter')
  assert.equal(await status(page), `The device is now called “${name}”.`)
  assert.equal(page.url(), `${LIST}#status`)
  assert.ok(await page.locator('#status:focus').count(), 'the result has no focus')

  await page.getByRole('button', { name: `Sign out ${name}` }).press('Enter')
  assert.equal(await status(page), `${name} is signed out.`)
  assert.ok(await page.locator('#status:focus').count(), 'the result has no focus')
  await page.reload()
  assert.equal(await page.getByRole('status').count(), 0)
  assert.deepEqual(refused, [])
})

test('all others are signed out after the password was given, then this one', async (test) => {
  const { page, context } = await open(test, { javaScriptEnabled: false, old: served.old[2] })
  const cookie = async () => (await context.cookies()).find(({ name }) => name.endsWith('_refresh'))?.value
  const before = await cookie()
  assert.equal(await page.getByText('Sign out everywhere').count(), 1)
  await page.getByRole('link', { name: 'Sign out all other devices' }).click()
  assert.match(await page.locator('main').innerText(), new RegExp(`${served.devices} other devices will be signed out`))
  assert.ok(await page.locator('#password:focus').count(), 'the field for the password has no focus')
  await page.getByLabel('Your password').fill('wrong')
  await page.getByRole('button', { name: 'Sign out other devices' }).click()
  assert.match(await page.getByRole('alert').innerText(), /wrong/)
  await page.getByLabel('Your password').fill(served.password)
  await page.getByRole('button', { name: 'Sign out other devices' }).click()
  assert.equal(await status(page), `${served.devices} devices were signed out.`)
  const after = await cookie()
  assert.ok(after && after !== before)

  await page.getByRole('button', { name: /^Sign out / }).click()
  assert.equal(await status(page), 'You have signed out.')
  assert.equal(await cookie(), undefined)
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'You are not signed in')
})

test('a foreign page can neither end nor rename', async (test) => {
  const { page, context } = await open(test, { user: 0 })
  const end = await page.locator('form[action$="/end/"]').last().getAttribute('action')
  const before = await page.getByRole('row').count()
  for (const path of [end, end.replace('/end/', '/rename/'), '/devices/end-all/', '/devices/end-others/']) {
    const foreign = await context.newPage()
    await foreign.route('https://evil.example/', (route) =>
      route.fulfill({
        contentType: 'text/html',
        body: `<form method="post" action="${served.origin}${path}"><input name="device_name" value="x"><button>Win</button></form>`,
      }),
    )
    await foreign.goto('https://evil.example/')
    const [answer] = await Promise.all([
      foreign.waitForResponse((response) => response.url().startsWith(served.origin)),
      foreign.getByRole('button').click(),
    ])
    assert.equal(answer.status(), 403)
    await foreign.close()
  }
  await page.reload()
  assert.equal(await page.getByRole('row').count(), before)
  assert.equal(await page.locator('input[value="x"]').count(), 0)
})
