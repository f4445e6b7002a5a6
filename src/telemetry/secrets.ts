/**
 * Text without the secrets of bearer tokens: of this product's, whose id may be told, and of any
 * that stands behind `Bearer`.
 */
const TOKEN = /\b(mn_[0-9a-f]{16})_[A-Za-z0-9_-]{43}/gi;
const BEARER = /\b(Bearer +)(?!mn_[0-9a-f]{16}_…)[A-Za-z0-9._~+/=-]+/gi;

export const withoutSecrets = (text: string): string =>
  text.replace(TOKEN, '$1_…').replace(BEARER, '$1…');
