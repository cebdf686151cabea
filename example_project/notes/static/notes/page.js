// Small tools for the page: elements, forms, the log and the announcer.

export const find = (id) => document.getElementById(id)

/** An element with properties and children; strings are text, never markup. */
export function make(name, properties = {}, ...children) {
  const element = Object.assign(document.createElement(name), properties)
  element.append(...children)
  return element
}

/** A button whose name says what it is about, though only its first word is seen. */
export const button = (word, about, onclick) =>
  make('button', { type: 'button', onclick }, word, make('span', { className: 'unseen' }, ` ${about}`))

/** Run an action of a form or a button once at a time, and show what went wrong in `place`. */
export async function run(control, place, action, explain) {
  const buttons = control.matches('button') ? [control] : control.querySelectorAll('button')
  place.textContent = ''
  // A disabled button would lose the focus.
  if ([...buttons].some((each) => each.ariaBusy === 'true')) return
  for (const each of buttons) each.ariaBusy = 'true'
  try {
    await action()
  } catch (error) {
    place.textContent = explain(error)
  } finally {
    for (const each of buttons) each.ariaBusy = null
  }
}

const LONGEST_LOG = 100

/** Tell a screen reader, once it has nothing else to say. */
export const announce = (text) => (find('announcer').textContent = text)

/** Add a line to the log. Only what matters to the user is announced: refreshes come every minute. */
export function log(text, { routine = false } = {}) {
  const now = new Date()
  const time = make('time', { dateTime: now.toISOString() }, now.toLocaleTimeString())
  find('log').prepend(make('li', { className: routine ? 'routine' : '' }, time, make('span', {}, text)))
  find('log').children[LONGEST_LOG]?.remove()
  if (!routine) announce(text)
}
