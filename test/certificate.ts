/**
 * A certificate that signs itself, for servers of tests: DER by hand (X.690, RFC 5280 §4.1), since
 * Node can sign but not make one. Valid for a year around now.
 */
import { generateKeyPairSync, sign } from 'node:crypto';

const DAY_MS = 86_400_000;
const der = (tag: number, ...parts: readonly Uint8Array[]): Buffer => {
  const content = Buffer.concat(parts);
  const { length } = content;
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 255];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
};
const sequence = (...parts: readonly Uint8Array[]): Buffer => der(0x30, ...parts);
/** Of bytes that are written as they are. */
const oid = (hex: string): Buffer => der(0x06, Buffer.from(hex, 'hex'));
const bits = (bytes: Uint8Array): Buffer => der(0x03, Buffer.of(0), bytes);
const utcTime = (ms: number): Buffer => {
  const digits = new Date(ms).toISOString().replaceAll(/[-:T]|\..*/g, '');
  return der(0x17, Buffer.from(`${digits.slice(2)}Z`));
};

const COMMON_NAME = '550403';
const ECDSA_WITH_SHA256 = '2a8648ce3d040302';

/** Both as PEM. */
export function selfSigned(name: string): { readonly key: string; readonly cert: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const algorithm = sequence(oid(ECDSA_WITH_SHA256));
  const called = sequence(der(0x31, sequence(oid(COMMON_NAME), der(0x0c, Buffer.from(name)))));
  const now = Date.now();
  const told = sequence(
    der(0x02, Buffer.of(1)),
    algorithm,
    called,
    sequence(utcTime(now - DAY_MS), utcTime(now + 364 * DAY_MS)),
    called,
    publicKey.export({ type: 'spki', format: 'der' }),
  );
  const whole = sequence(told, algorithm, bits(sign('sha256', told, privateKey)));
  const lines = whole
    .toString('base64')
    .replaceAll(/(.{64})/g, '$1\n')
    .trimEnd();
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
    cert: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  };
}
