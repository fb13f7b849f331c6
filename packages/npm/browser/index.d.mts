/** A token, with how long it lives if that is known. */
export type IssuedToken =
  | string
  | {
      token: string;
      /** How long it lives, in seconds. */
      expiresIn?: number;
      /** When it ends, as Letta's response says it. */
      expiresAt?: string | number | Date;
      expires_at?: string | number | Date;
    };

export interface TokenFetchOptions {
  /**
   * Gets a token from your back end: as a text, as an object, or as the back end's response with either in JSON. A
   * response that is not a success takes the place of the response to the SDK's request, whose error it then becomes.
   */
  fetchToken: () => IssuedToken | Response | Promise<IssuedToken | Response>;
  /** A token that the page has already; otherwise the first request fetches one. */
  token?: IssuedToken;
  /** The server that the token is for. Requests to others pass as they are. Left out: all requests get the token. */
  baseURL?: string;
  /** The fetch that sends; `globalThis.fetch` by default. */
  fetch?: typeof globalThis.fetch;
}

/** A `fetch` that puts a valid client token into each request: pass it to the SDK as `fetch`. */
export function tokenFetch(options: TokenFetchOptions): typeof globalThis.fetch;
