/**
 * What leaves in a bundle has no secrets: not those of bearer tokens, not those that this run was
 * given, and nothing under a field whose name says that it holds one.
 *
 * Invariant: everything that goes into a bundle passes `redact`, whatever it is.
 */
import { withoutSecrets } from '#telemetry/secrets.ts';

export const GONE = '…';
/** A field with such a name holds a secret, whatever is in it. */
const SECRET_FIELD =
  /secret|passw|authori[sz]ation|credential|private[-_ ]?key|api[-_ ]?key|^hash$/i;
/** `"name":"value"`, also inside a text that is JSON itself (then with escaped quotes). */
const FIELD = /(\\*")([^"\\]{1,100})\1(\s*:\s*)\1((?:[^"\\]|\\(?!\1)[^"])*?)\1/g;
/** `NAME=value`, as in environments and command lines. */
const VARIABLE =
  /\b((?:[A-Z0-9_]*(?:TOKEN|SECRET|PASSW(?:OR)?D|CREDENTIAL|PRIVATE_KEY|API_KEY))=)[^\s"'\\,;]+/g;
/** Shorter texts are none that could be kept from being guessed. */
const SECRET_LENGTH_MIN = 6;

/** The text without secrets. `known`: those of this run, wherever they stand. */
export function redact(text: string, known: readonly string[]): string {
  let out = text;
  for (const secret of known.toSorted((a, b) => b.length - a.length))
    if (secret.length >= SECRET_LENGTH_MIN) out = out.replaceAll(secret, GONE);
  out = withoutSecrets(out);
  out = out.replace(FIELD, (all, quote: string, name: string, colon: string) =>
    SECRET_FIELD.test(name) ? `${quote}${name}${quote}${colon}${quote}${GONE}${quote}` : all,
  );
  return out.replace(VARIABLE, `$1${GONE}`);
}

/** Values of variables that hold secrets, by their names. */
export const secretsOf = (environment: Readonly<Record<string, string | undefined>>): string[] =>
  Object.entries(environment).flatMap(([name, value]) =>
    /TOKEN|SECRET|PASSW|CREDENTIAL|PRIVATE|_KEY$/i.test(name) &&
    !name.endsWith('_FILE') &&
    value !== undefined &&
    value.length >= SECRET_LENGTH_MIN
      ? [value]
      : [],
  );
