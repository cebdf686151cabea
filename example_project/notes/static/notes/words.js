// What the page says about reasons and errors: codes are for programs.

export const REASONS = {
  logout: 'You signed out.',
  ended_by_user: 'This session was ended from one of your devices.',
  ended_by_admin: 'An administrator ended this session.',
  replaced: 'You signed in elsewhere and ended all other sessions.',
  session_limit: 'You signed in on more devices than is allowed.',
  idle_timeout: 'You were signed out because nothing happened for a while.',
  max_lifetime: 'You were signed in for as long as is allowed.',
  password_changed: 'The password was changed.',
  version_raised: 'All sessions of this user were ended.',
  token_reuse: 'An old refresh token of this session was used. Somebody may have copied it, so the session was ended.',
  user_inactive: 'This user was deactivated.',
  expired: 'You were away for too long.',
}

const ERRORS = {
  INVALID_CREDENTIALS: 'The name or the password is wrong.',
  THROTTLED: 'There were too many attempts. Try again later.',
  NETWORK_ERROR: 'The server cannot be reached. Try again.',
  TIMEOUT: 'The server did not answer in time. Try again.',
  SESSION_CHANGED: 'Somebody signed in or out meanwhile. Nothing was changed.',
  TENANT_FORBIDDEN: 'You are not a member of this tenant.',
}

/** @param {string | null} reason */
export const whySignedOut = (reason) => (reason ? REASONS[reason] ?? `The session is over: ${reason}.` : '')

/** @param {{ code?: string, message: string }} error */
export const whatFailed = ({ code, message }) => ERRORS[code] ?? message

/** @param {number} seconds */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds))
  if (whole < 60) return `${whole} s`
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, '0')} min`
}

/** @param {string} date A time today is shown without the date. */
export function moment(date) {
  const when = new Date(date)
  const today = when.toDateString() === new Date().toDateString()
  return when.toLocaleString([], { timeStyle: 'short', ...(today ? {} : { dateStyle: 'medium' }) })
}
