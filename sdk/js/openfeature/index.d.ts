/** What a reporter needs to know, and may be told. */
export interface ReporterOptions {
  /** Where the platform is, such as "https://flags.example.com". */
  baseUrl: string;
  /** A client key in pages, a server key on servers. */
  key: string;
  /** How long a fact waits for company, in milliseconds; 5000. */
  flushInterval?: number;
  /** How many facts wait at most; what comes on top is dropped; 1000. */
  queueSize?: number;
  /** Unit types of the project beside userID and stableID, such as "companyID": members of a context that are custom ids. */
  unitTypes?: string[];
  /** Instead of the global fetch. */
  fetch?: typeof fetch;
}

type Context = Record<string, unknown> & { targetingKey?: string };

/** Reports what OFREP leaves out: which flags were read, and what users did. */
export class Reporter {
  constructor(options: ReporterOptions);
  /** An OpenFeature hook that reports each flag that is read. Add it with OpenFeature.addHooks. */
  hook(): { after(hookContext: unknown, details: unknown): void };
  /** Gives a provider a track method that reports; returns the provider. */
  tracking<P extends object>(provider: P): P;
  /** Reports an event. */
  track(name: string, context?: Context, details?: { value?: number; [field: string]: unknown }): void;
  /** Sends what waits; resolves when it was acknowledged or given up. */
  flush(): Promise<void>;
  /** Ends the timer and sends what waits. */
  close(): Promise<void>;
  /** How many facts were dropped. */
  readonly dropped: number;
}
