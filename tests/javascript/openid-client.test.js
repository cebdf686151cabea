import assert from 'node:assert/strict'
import test from 'node:test'
import * as client from 'openid-client'
import { issuer, served, signIn } from './served.js'

const ways = {
  client_secret_basic: client.ClientSecretBasic(served.client_secret),
  client_secret_post: client.ClientSecretPost(served.client_secret),
}

function discovered(clientId, authentication) {
  return client.discovery(issuer, clientId, undefined, authentication, { algorithm: 'oauth2' })
}

const app = await discovered('web', client.None())

test('discovery', () => {
  const metadata = app.serverMetadata()
  assert.equal(metadata.issuer, served.issuer)
  assert.equal(new URL(metadata.token_endpoint).origin, issuer.origin)
})

test('a public client refreshes again and again', async () => {
  const signedIn = await signIn()
  let tokens = signedIn
  for (let count = 0; count < 3; count += 1) {
    const refreshed = await client.refreshTokenGrant(app, tokens.refresh_token)
    assert.notEqual(refreshed.refresh_token, tokens.refresh_token)
    assert.ok(refreshed.expiresIn() > 0)
    const response = await client.fetchProtectedResource(app, refreshed.access_token, new URL(served.users_api), 'GET')
    assert.equal((await response.json()).email, served.email)
    tokens = refreshed
    await new Promise((resolve) => setTimeout(resolve, served.grace * 1000 + 50))
  }
  await assert.rejects(client.refreshTokenGrant(app, signedIn.refresh_token), { error: 'invalid_grant' })
})

for (const [name, authentication] of Object.entries(ways)) {
  test(`a service gets client credentials, introspects and revokes by ${name}`, async () => {
    const service = await discovered(served.client_id, authentication)
    const own = await client.clientCredentialsGrant(service, { resource: served.audience })
    assert.equal((await client.tokenIntrospection(service, own.access_token)).sub, served.client_id)

    const tokens = await signIn()
    assert.equal((await client.tokenIntrospection(service, tokens.access_token)).sid, tokens.session_id)
    await client.tokenRevocation(service, tokens.refresh_token, { token_type_hint: 'refresh_token' })
    assert.deepEqual(await client.tokenIntrospection(service, tokens.access_token), { active: false })
  })

  test(`a resource that is unknown is refused by ${name}`, async () => {
    const service = await discovered(served.client_id, authentication)
    const asked = client.clientCredentialsGrant(service, { resource: 'https://other.example.com' })
    await assert.rejects(asked, { error: 'invalid_target', status: 400 })
  })
}

test('a public client revokes', async () => {
  const tokens = await signIn()
  await client.tokenRevocation(app, tokens.access_token)
  await assert.rejects(client.refreshTokenGrant(app, tokens.refresh_token), { error: 'invalid_grant' })
})

test('a wrong secret is refused', async () => {
  const wrong = await discovered(served.client_id, client.ClientSecretPost('wrong'))
  await assert.rejects(client.clientCredentialsGrant(wrong), (error) => {
    assert.ok(error instanceof client.WWWAuthenticateChallengeError)
    assert.equal(error.status, 401)
    return true
  })
})
