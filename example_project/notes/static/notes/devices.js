// The devices on which the user is signed in: list, rename, end.

import { announce, button, find, log, make, run } from './page.js'
import { moment, whatFailed } from './words.js'

const list = find('devices')
const error = find('devices-error')

const nameOf = ({ device_name: name, device: { browser, system } }) =>
  name || [browser, system].filter(Boolean).join(' on ') || 'Unknown device'

/** List them anew. By the time of the answer the user may be about to rename one: that is left alone. */
export async function showDevices(session, { changed = false } = {}) {
  const devices = await session.devices.list()
  if (!changed && list.contains(document.activeElement)) return
  devices.sort((one, other) => other.current - one.current)
  list.replaceChildren(...devices.map((device) => item(session, device)))
  find('end-others').hidden = devices.length < 2
}

function item(session, device) {
  const name = nameOf(device)
  const title = make('span', { className: 'row' }, make('strong', {}, name))
  if (device.current) title.append(make('span', { className: 'tag' }, 'this device'))
  const facts = [`active ${moment(device.last_active_at)}`, device.ip_address].filter(Boolean).join(' · ')
  const buttons = make('span', { className: 'row' })
  const row = make('li', {}, title, make('span', { className: 'quiet' }, facts), buttons)
  const rename = button('Rename', name, () => {
    const field = make('input', { value: device.device_name, placeholder: name, maxLength: 100 })
    field.ariaLabel = `New name of ${name}`
    const form = make('form', { className: 'row' }, field, make('button', {}, 'Save'))
    const stop = () => {
      row.replaceChildren(...before)
      rename.focus()
    }
    const before = [...row.children]
    form.append(make('button', { type: 'button', onclick: stop }, 'Cancel'))
    form.onkeydown = ({ key }) => {
      if (key === 'Escape') stop()
    }
    form.onsubmit = (event) => {
      event.preventDefault()
      act(form, session, async () => {
        await session.devices.rename(device.id, field.value)
        announce(`Renamed to ${field.value || 'no name'}.`)
      })
    }
    row.replaceChildren(form)
    field.select()
  })
  buttons.append(rename)
  if (!device.current)
    buttons.append(
      button('End', name, ({ currentTarget }) =>
        act(currentTarget, session, async () => {
          await session.devices.end(device.id)
          log(`You ended the session of ${name}. Its next request is refused.`)
        }),
      ),
    )
  return row
}

/** Do it, show the list anew, and put the focus where the list begins: the button may be gone. */
const act = (control, session, action) =>
  run(
    control,
    error,
    async () => {
      await action()
      await showDevices(session, { changed: true })
      find('devices-title').focus()
    },
    whatFailed,
  )

export function connectDevices(session) {
  find('end-others').onclick = ({ currentTarget }) =>
    act(currentTarget, session, async () => {
      const ended = await session.devices.endOthers()
      log(`You ended ${ended} other ${ended === 1 ? 'session' : 'sessions'}.`)
    })
  find('end-all').onclick = ({ currentTarget }) =>
    run(currentTarget, error, () => session.devices.endAll(), whatFailed)
}
