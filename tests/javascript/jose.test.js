import assert from 'node:assert/strict'
import test from 'node:test'
import { createRemoteJWKSet, decodeProtectedHeader, errors, jwtVerify } from 'jose'
import { forged, served, signIn } from './served.js'

const jwks = createRemoteJWKSet(new URL(served.jwks_uri))
const rules = {
  issuer: served.issuer,
  audience: served.audience,
  typ: 'at+jwt',
  algorithms: [served.algorithm],
  requiredClaims: ['sub', 'exp', 'iat', 'jti', 'client_id', 'auth_time'],
}

test('a token of a user is verified by the published keys', async () => {
  const tokens = await signIn()
  const { payload, protectedHeader } = await jwtVerify(tokens.access_token, jwks, rules)
  assert.equal(payload.sub, served.sub)
  assert.equal(payload.sid, tokens.session_id)
  assert.equal(payload.exp - payload.iat, tokens.expires_in)
  assert.deepEqual(Object.keys(protectedHeader).sort(), ['alg', 'kid', 'typ'])
})

test('the published keys are of several kinds, and none is private', async () => {
  await jwks.reload()
  const { keys } = jwks.jwks()
  assert.equal(new Set(keys.map((key) => key.kid)).size, 3)
  for (const key of keys) {
    assert.deepEqual([key.use, 'd' in key, 'k' in key], ['sig', false, false])
  }
})

test('attack: a forged token is refused', async () => {
  const { access_token } = await signIn()
  await assert.rejects(jwtVerify(forged(access_token), jwks, rules), errors.JWSSignatureVerificationFailed)
})

test('attack: a token for another audience, of another issuer or of another type is refused', async () => {
  const { access_token } = await signIn()
  for (const [name, value] of [['audience', 'other'], ['issuer', 'https://other.example.com'], ['typ', 'JWT']]) {
    await assert.rejects(jwtVerify(access_token, jwks, { ...rules, [name]: value }), errors.JWTClaimValidationFailed)
  }
})

test('a token names the key that signed it', async () => {
  const { access_token } = await signIn()
  const { alg, kid } = decodeProtectedHeader(access_token)
  await jwks.reload()
  assert.equal(alg, served.algorithm)
  // A key of the Edwards curve names no algorithm: its newer and its older name both fit.
  const named = jwks.jwks().keys.filter((key) => key.kid === kid)
  assert.deepEqual(named.map((key) => key.alg ?? served.algorithm), [alg])
})
