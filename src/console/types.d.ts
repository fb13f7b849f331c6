// The shapes that the console reads; docs/control-api.md describes them.

export interface Step { asked: string; said: string }
export interface Criterion { name: string; ok: boolean; expected?: unknown; found?: unknown }
export interface NearMiss { id: string; criteria: Criterion[] }

export interface Entry {
  id: number;
  at: string;
  real_at: string;
  namespace: string;
  request_id: string;
  phase: 'received' | 'decided' | 'answering' | 'finished';
  operation: string | null;
  method: string;
  target: string;
  agents?: string[];
  refs: Record<string, string>;
  caller: { kind: string; jti?: string; key?: string; origin_bound?: string; expires_in_ms?: number };
  sent: {
    origin: string | null;
    headers: Record<string, string>;
    body: unknown;
    body_bytes: number;
    body_cut?: boolean;
    dropped_fields: string[];
  };
  decision: { outcome: 'admitted' | 'denied' | null; steps: Step[] };
  reply: null | { source: string; id: string | null; step?: number; near_misses?: NearMiss[] };
  fault: null | { id: string; fired?: number; did?: string[]; not_possible?: string[] };
  retry_of: number | null;
  answer: null | {
    status: number | null;
    code: string | null;
    message?: string;
    frames: number;
    bytes: number;
    first_byte_ms: number | null;
    ended_ms?: number | null;
    ended: string | null;
    by: string | null;
  };
  preflight: null | { at: string; status: number };
  verdicts: string[];
}

export interface FrameView { n: number; ms: number; bytes: number; type: string; data: unknown }

export interface Clock {
  now: string;
  offset_ms: number;
  frozen: boolean;
  timers: string;
  expiry: string;
  pending: { due: string; kind: string; id: string }[];
}

export interface NamespaceView {
  name: string;
  persistent: boolean;
  ids: string;
  key_id: string | null;
  counts: Record<string, number>;
  streams: number;
  snapshots: number;
  refs: Record<string, string>;
  created_at: string;
  last_used_at: string;
  idle_ttl: string | null;
  clock: Clock;
}

export interface About { version: string; namespace: string | null; features: string[]; limits: Record<string, number> }

export interface Finding {
  rule: string;
  severity: 'info' | 'warn' | 'error';
  sentence: string;
  fix: string;
  evidence: number[];
  caller: { kind: string; jti?: string; key?: string };
  docs: string;
  allowed: string | null;
}

export interface PolicyEntry { type: 'agent'; id: string; access: string[] }

export interface AgentView { id: string; name: string; description?: string | null; model?: string | null; tags?: string[] }

/** What every screen gets. */
export interface ScreenProps {
  ns: string;
  about: About;
  space: NamespaceView | null;
  /** The rest of the address after the screen's name. */
  rest: string[];
  refresh: () => void;
}
