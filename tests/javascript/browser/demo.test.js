// The front page of the example project in Chromium. Each test has a user who is a member of two tenants.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { launch, passing, served } from './chromium.js'

const NARROW = { width: 400, height: 800 }
const FOCUS = () => document.activeElement.id

/** The page, with its policy: the browser reports to the console what it refuses. */
async function visit(context, path = '/') {
  const tab = await context.newPage()
  const answer = await tab.goto(served.origin + path)
  assert.match(answer.headers()['content-security-policy'], /script-src 'self';.*style-src 'self'/)
  return tab
}

async function giveCredentials(tab, email, password) {
  const form = tab.locator('#sign-in')
  await form.getByLabel('E-mail address').fill(email)
  await form.getByLabel('Password').fill(password)
  await tab.keyboard.press('Enter')
}

async function signIn(tab, email) {
  await giveCredentials(tab, email, served.password)
  await tab.locator('#notes li').first().waitFor()
}

const notes = (tab) => tab.locator('#notes li').evaluateAll((items) => items.map((item) => item.firstChild.data))
const logged = (tab, text) => tab.locator('#log li', { hasText: text }).first().waitFor()

/** All that the console said, but for refusals that are part of the tale: the browser itself reports those. */
const complaints = ({ console }) => console.filter((text) => !/^Failed to load resource: .* 40[01] \(/.test(text))

async function otherDevice(test, userAgent) {
  const { browser, log } = await launch(test)
  const context = await browser.newContext({ ignoreHTTPSErrors: true, userAgent })
  return { tab: await visit(context), log }
}

test('signs in, shows the notes of the tenant, and another tab those of the other one', async (test) => {
  const { context, log } = await launch(test)
  const tab = await visit(context)
  await giveCredentials(tab, served.users[0], 'wrong')
  await tab.getByText('The name or the password is wrong.').waitFor()
  await signIn(tab, served.users[0])
  assert.deepEqual(await notes(tab), ['Of Acme'])
  assert.equal(await tab.evaluate(FOCUS), 'notes-title')
  const [other] = await Promise.all([context.waitForEvent('page'), tab.getByRole('link', { name: 'Globex' }).click()])
  await other.locator('#notes li').first().waitFor()
  assert.deepEqual(await notes(other), ['Of Globex'])
  await other.getByLabel('New note').fill('<b>Bold</b>')
  await other.keyboard.press('Enter')
  await other.getByText('<b>Bold</b>').waitFor()
  for (const [each, expected] of [
    [tab, ['Of Acme']],
    [other, ['<b>Bold</b>', 'Of Globex']],
  ]) {
    await each.reload()
    await each.locator('#notes li').first().waitFor()
    assert.deepEqual(await notes(each), expected)
  }
  assert.equal(await tab.locator('#devices li').count(), 1)
  await tab.getByRole('button', { name: 'Refresh twice at once' }).click()
  await logged(tab, 'Refreshed twice')
  assert.equal((await tab.locator('#log').innerText()).includes('eyJ'), false, 'a token is shown')
  assert.deepEqual(complaints(log), [])
})

test('renames and ends another device, which says why it is signed out', async (test) => {
  const { context, log } = await launch(test)
  const tab = await visit(context)
  await signIn(tab, served.users[1])
  const phone = await otherDevice(test, 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0')
  await signIn(phone.tab, served.users[1])
  await tab.reload()
  await tab.getByRole('button', { name: 'Rename Firefox on Linux' }).click()
  await tab.getByLabel('New name of Firefox on Linux').fill('Old laptop')
  await tab.keyboard.press('Enter')
  await tab.getByRole('button', { name: 'End Old laptop' }).click()
  await logged(tab, 'You ended the session of Old laptop.')
  await tab.getByRole('button', { name: 'End Old laptop' }).waitFor({ state: 'detached' })
  assert.equal(await tab.evaluate(FOCUS), 'devices-title')
  assert.equal(await tab.locator('#devices li').count(), 1)
  await phone.tab.getByLabel('New note').fill('Too late')
  await phone.tab.keyboard.press('Enter')
  await phone.tab.locator('#sign-in').waitFor()
  assert.match(await phone.tab.locator('#sign-in-why').innerText(), /ended from one of your devices/)
  assert.equal(await phone.tab.evaluate(FOCUS), 'sign-in-title')
  assert.equal(await phone.tab.locator('#notes li').count(), 0)
  assert.deepEqual([...complaints(log), ...complaints(phone.log)], [])
})

test('asks for the password again, by keyboard alone, and does what was asked for', async (test) => {
  const { context, log } = await launch(test)
  const tab = await visit(context)
  await signIn(tab, served.users[2])
  await passing(served.recent)
  const clear = tab.getByRole('button', { name: 'Delete all notes' })
  await clear.press('Enter')
  await tab.getByRole('dialog').waitFor()
  assert.equal(await tab.evaluate(FOCUS), 'ask-password')
  await tab.keyboard.press('Escape')
  await tab.getByRole('dialog').waitFor({ state: 'hidden' })
  assert.deepEqual(await notes(tab), ['Of Acme'])
  await clear.press('Enter')
  await tab.getByRole('dialog').waitFor()
  await tab.keyboard.type('wrong')
  await tab.keyboard.press('Enter')
  await tab.getByRole('dialog').getByText('The name or the password is wrong.').waitFor()
  await tab.keyboard.type(served.password)
  await tab.keyboard.press('Enter')
  await tab.getByText('No notes yet.').waitFor()
  assert.equal(await tab.evaluate(FOCUS), 'notes-title')
  assert.deepEqual(complaints(log), [])
})

test('signs out everywhere, in all tabs, on a narrow screen too', async (test) => {
  const { context, log } = await launch(test)
  const tab = await visit(context)
  await tab.setViewportSize(NARROW)
  await signIn(tab, served.users[3])
  const other = await visit(context, '/?tenant=globex')
  await other.locator('#notes li').first().waitFor()
  assert.equal(await tab.evaluate(() => document.documentElement.scrollWidth), NARROW.width)
  await tab.getByRole('button', { name: 'Sign out everywhere' }).click()
  for (const each of [tab, other]) {
    await each.locator('#sign-in').waitFor()
    await logged(each, 'This session was ended from one of your devices.')
    assert.equal(await each.locator('#notes li').count(), 0)
    assert.equal(await each.title(), 'Notes')
  }
  assert.equal(await tab.evaluate(FOCUS), 'sign-in-title')
  await tab.reload()
  await tab.locator('#sign-in').waitFor()
  assert.deepEqual(complaints(log), [])
})
