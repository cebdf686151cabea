import assert from 'node:assert/strict'
import test from 'node:test'
import * as oauth from 'oauth4webapi'
import { forged, issuer, served, signIn } from './served.js'

const as = await oauth
  .discoveryRequest(issuer, { algorithm: 'oauth2' })
  .then((response) => oauth.processDiscoveryResponse(issuer, response))

const app = { client_id: 'web' }
const service = { client_id: served.client_id }
const ways = {
  client_secret_basic: oauth.ClientSecretBasic(served.client_secret),
  client_secret_post: oauth.ClientSecretPost(served.client_secret),
}

async function refresh(token) {
  const response = await oauth.refreshTokenGrantRequest(as, app, oauth.None(), token)
  return oauth.processRefreshTokenResponse(as, app, response)
}

async function clientCredentials(authentication) {
  const response = await oauth.clientCredentialsGrantRequest(as, service, authentication, {})
  return oauth.processClientCredentialsResponse(as, service, response)
}

async function introspect(token, authentication = ways.client_secret_basic) {
  const response = await oauth.introspectionRequest(as, service, authentication, token)
  return oauth.processIntrospectionResponse(as, service, response)
}

async function revoke(token, client = app, authentication = oauth.None()) {
  await oauth.processRevocationResponse(await oauth.revocationRequest(as, client, authentication, token))
}

function call(token, url) {
  return oauth.protectedResourceRequest(token, 'GET', new URL(url))
}

test('discovery finds the endpoints and how clients authenticate there', () => {
  assert.equal(as.issuer, served.issuer)
  for (const name of ['token_endpoint', 'revocation_endpoint', 'introspection_endpoint', 'jwks_uri']) {
    assert.equal(new URL(as[name]).origin, issuer.origin)
  }
  for (const grant of ['refresh_token', 'client_credentials']) assert.ok(as.grant_types_supported.includes(grant))
  for (const way of Object.keys(ways)) {
    assert.ok(as.token_endpoint_auth_methods_supported.includes(way))
    assert.ok(as.introspection_endpoint_auth_methods_supported.includes(way))
  }
})

test('a public client refreshes, and two tabs that race get the same token', async () => {
  let tokens = await signIn()
  for (let count = 0; count < 3; count += 1) {
    const [one, other] = await Promise.all([refresh(tokens.refresh_token), refresh(tokens.refresh_token)])
    assert.notEqual(one.refresh_token, tokens.refresh_token)
    assert.equal(one.refresh_token, other.refresh_token)
    assert.equal((await call(one.access_token, served.users_api)).status, 200)
    tokens = one
    await new Promise((resolve) => setTimeout(resolve, served.grace * 1000 + 50))
  }
})

for (const [name, authentication] of Object.entries(ways)) {
  test(`a service gets client credentials by ${name}`, async () => {
    const tokens = await clientCredentials(authentication)
    assert.equal(tokens.refresh_token, undefined)
    const response = await call(tokens.access_token, served.services_api)
    assert.equal((await response.json()).sub, served.client_id)
  })

  test(`a service introspects by ${name}`, async () => {
    const tokens = await signIn()
    const access = await introspect(tokens.access_token, authentication)
    assert.deepEqual([access.active, access.sid, access.aud], [true, tokens.session_id, served.audience])
    const refreshed = await introspect(tokens.refresh_token, authentication)
    assert.deepEqual([refreshed.active, refreshed.token_type], [true, 'refresh_token'])
    assert.deepEqual(await introspect('garbage', authentication), { active: false })
  })

  test(`a service revokes by ${name}`, async () => {
    const tokens = await signIn()
    await revoke(tokens.refresh_token, service, authentication)
    assert.deepEqual(await introspect(tokens.access_token), { active: false })
  })

  test(`a wrong secret is refused by ${name}`, async () => {
    const wrong = name === 'client_secret_basic' ? oauth.ClientSecretBasic('wrong') : oauth.ClientSecretPost('wrong')
    await assert.rejects(clientCredentials(wrong), (error) => {
      // This library believes a challenge rather than a body (RFC 6749 §5.2).
      assert.ok(error instanceof oauth.WWWAuthenticateChallengeError)
      assert.deepEqual([error.status, error.cause[0].scheme], [401, 'basic'])
      return true
    })
  })
}

for (const kind of ['access_token', 'refresh_token']) {
  test(`a public client revokes its ${kind}, and again`, async () => {
    const tokens = await signIn()
    await revoke(tokens[kind])
    await revoke(tokens[kind])
    await assert.rejects(refresh(tokens.refresh_token), { error: 'invalid_grant', status: 400 })
    await assert.rejects(call(tokens.access_token, served.users_api), (error) => {
      assert.ok(error instanceof oauth.WWWAuthenticateChallengeError)
      assert.equal(error.cause[0].parameters.error, 'invalid_token')
      return true
    })
  })
}

test('revoking what nobody knows succeeds', async () => {
  await revoke('garbage')
})

test('that tokens of a credential are not revoked one by one is said in words of the standard', async () => {
  const { access_token } = await clientCredentials(ways.client_secret_basic)
  await assert.rejects(revoke(access_token), { error: 'unsupported_token_type' })
})

function requestWith(token) {
  return new Request('https://resource.example.com/', { headers: { authorization: `Bearer ${token}` } })
}

test('a resource server validates the tokens of users and services by RFC 9068', async () => {
  const tokens = await signIn()
  const ofUser = await oauth.validateJwtAccessToken(as, requestWith(tokens.access_token), served.audience)
  assert.deepEqual([ofUser.sub, ofUser.sid], [served.sub, tokens.session_id])
  const { access_token } = await clientCredentials(ways.client_secret_basic)
  const ofService = await oauth.validateJwtAccessToken(as, requestWith(access_token), served.audience)
  assert.deepEqual([ofService.sub, ofService.client_id], [served.client_id, served.client_id])
})

test('attack: a resource server refuses what is forged or for another audience', async () => {
  const { access_token } = await signIn()
  await assert.rejects(oauth.validateJwtAccessToken(as, requestWith(forged(access_token)), served.audience))
  await assert.rejects(oauth.validateJwtAccessToken(as, requestWith(access_token), 'other'), {
    code: oauth.JWT_CLAIM_COMPARISON,
  })
})
