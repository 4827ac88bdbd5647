import { type RequestSigner, signRequest } from '@ims/access';
import { PLATFORM_PROJECT } from '@ims/contract';
import { errorMessage } from '@ims/embedded';
import { z } from 'zod';
import { CliError } from './cli-error';
import { type CliConfig, readConfig } from './config';
import { EXIT, type ExitCode } from './exit-codes';
import { DataDirectory } from './stack/data-directory';

/** How a caller shows who it is: by signing each request with an access key, or by a token that a password was given for. */
export type GatewayCredentials = { kind: 'key'; signer: RequestSigner } | { kind: 'token'; token: string };

export interface PasswordLogin {
  accountName: string;
  userName: string;
  password: string;
  projectId: string;
}

export interface GatewayCall {
  /** Sent as JSON. */
  body?: unknown;
  headers?: Readonly<Record<string, string>>;
  /** Parameters of the query; those without a value are left out. */
  query?: Readonly<Record<string, string | number | undefined>>;
  signal?: AbortSignal;
}

/** The service refused a call, or could not be reached: one sentence, what to do, and what it means for the exit code. */
export class GatewayError extends CliError {
  constructor(
    message: string,
    remedy: string,
    exitCode: ExitCode,
    /** HTTP status; 0 when there was no answer. */
    readonly status: number,
    /** Code of the refusal (`IMG.0023`), when the answer had one. */
    readonly errorCode: string | undefined,
    options?: ErrorOptions,
  ) {
    super(message, remedy, exitCode, options);
  }
}

/** Calls to the service for one project: the only way by which commands reach images and jobs. */
export class GatewayClient {
  constructor(
    /** Begin of every URL, without a slash at its end. */
    readonly endpoint: string,
    readonly projectId: string,
    private readonly credentials: GatewayCredentials,
  ) {}

  /**
   * The service that a command means: that of `--data` when it was given, else the one that the environment names (IMS_ENDPOINT or OS_AUTH_URL with
   * a project and an access key, a token or a password), else that of the default data directory.
   *
   * As the platform's operator only where that is said: from a data directory; the environment names whomever it names.
   *
   * @throws CliError when there is none of them, naming the one that is missing
   */
  static async connect(
    options: { data?: string; asOperator?: boolean },
    config: CliConfig = readConfig(),
  ): Promise<GatewayClient> {
    if (options.data === undefined) {
      const client = await GatewayClient.#ofEnvironment(config.remote);
      if (client !== undefined) return client;
    }
    const directory = new DataDirectory(options.data ?? config.dataDir);
    const state = await directory.readState();
    if (state === undefined) {
      throw new CliError(
        `no service runs in ${directory.path}, and the environment names none`,
        `Start one with "npm run ims -- up --data ${directory.path}", or set IMS_ENDPOINT, IMS_PROJECT_ID and a key.`,
        EXIT.unreachable,
      );
    }
    if (options.asOperator === true) {
      if (state.operator === undefined)
        throw new CliError(
          `the service in ${directory.path} knows no operator`,
          'Start it again with this release.',
          EXIT.auth,
        );
      return new GatewayClient(state.apiUrl, PLATFORM_PROJECT, { kind: 'key', signer: state.operator });
    }
    return new GatewayClient(state.apiUrl, state.projectId, {
      kind: 'key',
      signer: { access: state.access, secret: state.secret },
    });
  }

  /** A client with the token that the password is good for. */
  static async signIn(endpoint: string, login: PasswordLogin): Promise<GatewayClient> {
    const identity = {
      methods: ['password'],
      password: { user: { name: login.userName, password: login.password, domain: { name: login.accountName } } },
    };
    const url = new URL('/v3/auth/tokens', endpoint);
    const answer = await send(url, 'POST', {
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ auth: { identity, scope: { project: { id: login.projectId } } } }),
    });
    await answer.body?.cancel();
    const token = answer.headers.get('x-subject-token');
    if (token === null) throw new CliError('sign in: the answer carries no token', `Is ${endpoint} the service's API?`);
    return new GatewayClient(endpoint, login.projectId, { kind: 'token', token });
  }

  static async #ofEnvironment(remote: CliConfig['remote']): Promise<GatewayClient | undefined> {
    const { endpoint, projectId, access, secret, token, accountName, userName, password } = remote;
    if (endpoint === undefined || projectId === undefined) return undefined;
    if (access !== undefined && secret !== undefined)
      return new GatewayClient(endpoint, projectId, { kind: 'key', signer: { access, secret } });
    if (token !== undefined) return new GatewayClient(endpoint, projectId, { kind: 'token', token });
    if (accountName !== undefined && userName !== undefined && password !== undefined)
      return GatewayClient.signIn(endpoint, { accountName, userName, password, projectId });
    return undefined;
  }

  /**
   * One call. `path` begins with a slash and is percent-encoded.
   *
   * @throws GatewayError for every answer that is not 2xx, and when there is none
   */
  async call(method: string, path: string, { body, headers = {}, query = {}, signal }: GatewayCall = {}) {
    const url = new URL(path, this.endpoint);
    for (const [name, value] of Object.entries(query))
      if (value !== undefined) url.searchParams.set(name, String(value));
    const text = body === undefined ? undefined : JSON.stringify(body);
    const given = { ...headers, ...(text === undefined ? {} : { 'content-type': 'application/json' }) };
    return send(url, method, {
      headers: this.#authorized(url, method, given, text),
      ...(text === undefined ? {} : { body: text }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** One call whose answer is read as JSON of a known shape. */
  async json<T>(schema: z.ZodType<T>, method: string, path: string, call: GatewayCall = {}): Promise<T> {
    return schema.parse(await (await this.call(method, path, call)).json());
  }

  #authorized(
    url: URL,
    method: string,
    headers: Record<string, string>,
    body: string | undefined,
  ): Record<string, string> {
    if (this.credentials.kind === 'token') return { ...headers, 'x-auth-token': this.credentials.token };
    const { host, ...signed } = signRequest(
      {
        method,
        rawPath: url.pathname,
        rawQuery: url.search.slice(1),
        headers: { ...headers, host: url.host, 'x-project-id': this.projectId },
        ...(body === undefined ? {} : { body }),
      },
      this.credentials.signer,
      new Date(),
    );
    // It is sent anyway, made of the URL.
    void host;
    return signed;
  }
}

async function send(url: URL, method: string, init: RequestInit): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(url, { ...init, method });
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
    throw new GatewayError(
      `${method} ${url.pathname}: ${url.origin} cannot be reached: ${errorMessage(cause)}`,
      'See whether it runs with "npm run ims -- status".',
      EXIT.unreachable,
      0,
      undefined,
      { cause: error },
    );
  }
  if (answer.ok) return answer;
  const { code, text } = refusalIn(await answer.text());
  throw new GatewayError(
    `${method} ${url.pathname} answered ${answer.status}${code === undefined ? '' : ` ${code}`}: ${text}`,
    `Look for request ${answer.headers.get('x-request-id') ?? 'unknown'} in the log of the gateway.`,
    exitCodeOf(answer.status),
    answer.status,
    code,
  );
}

// The shapes that errors have at the doors of the service (ims-api 1.5, iam 3).
const refusal = z.union([
  z.object({ error: z.object({ code: z.union([z.string(), z.number()]), message: z.string() }) }),
  z.object({ error_code: z.string(), error_msg: z.string() }).transform((each) => ({
    error: { code: each.error_code, message: each.error_msg },
  })),
]);

// Enough to see what answered when it was not the service.
const TEXT_LIMIT = 300;

function refusalIn(body: string): { code: string | undefined; text: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body);
  } catch {
    // A proxy's page, for instance.
    parsed = undefined;
  }
  const known = refusal.safeParse(parsed);
  return known.success
    ? { code: String(known.data.error.code), text: known.data.error.message }
    : { code: undefined, text: body.slice(0, TEXT_LIMIT) };
}

function exitCodeOf(status: number): ExitCode {
  if (status === 401 || status === 403) return EXIT.auth;
  if (status === 404) return EXIT.notFound;
  return status === 409 ? EXIT.conflict : EXIT.failed;
}
