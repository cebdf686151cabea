// The dialog that asks for the password again.

import { find, log, run } from './page.js'
import { whatFailed } from './words.js'

const dialog = find('ask')
const [form, field, error] = [dialog.querySelector('form'), find('ask-password'), dialog.querySelector('.error')]
let answer = null

/**
 * Ask for the password, with the session as it is. Whoever asks while the dialog is open shares its answer.
 *
 * @returns {Promise<boolean>} Whether it was given.
 */
export function askPassword(session, email, why) {
  answer ??= new Promise((resolve) => {
    find('ask-why').textContent = why
    find('ask-user').value = email
    error.textContent = ''
    let given = false
    form.onsubmit = (event) => {
      event.preventDefault()
      run(
        form,
        error,
        async () => {
          await session.reauthenticate({ password: field.value })
          given = true
          log('You gave your password again. Tokens from before are refreshed.')
          dialog.close()
        },
        (failure) => {
          field.select()
          return whatFailed(failure)
        },
      )
    }
    dialog.querySelector('.cancel').onclick = () => dialog.close()
    dialog.onclose = () => {
      answer = null
      form.reset()
      resolve(given)
    }
    dialog.showModal()
    field.focus()
  })
  return answer
}

export const stopAsking = () => dialog.close()
