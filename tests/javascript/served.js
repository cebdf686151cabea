// What the tests know of the server: its issuer, an audience, a user and a credential, and the resources.

export const served = JSON.parse(process.env.SERVED)

export const issuer = new URL(served.issuer)

/** Sign in as an app does, and answer the token answer. */
export async function signIn() {
  const response = await fetch(served.login, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email: served.email, password: served.password }),
  })
  if (response.status !== 200) throw new Error(`login: ${response.status}`)
  return response.json()
}

/** The token with another subject under the same signature. */
export function forged(token) {
  const [header, payload, signature] = token.split('.')
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString())
  const other = Buffer.from(JSON.stringify({ ...claims, sub: '0' })).toString('base64url')
  return `${header}.${other}.${signature}`
}
